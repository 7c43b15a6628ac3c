import type { Command } from './command.ts';

/** Where the top-level help shows a command. */
type CommandGroup = 'common' | 'containers' | 'images' | 'registries' | 'system' | 'hidden';

/** What the top-level help, the dispatcher and the shell know of a command without loading it. */
export interface RegistryEntry {
  /** The same line as the command's own `summary`; a test compares them. */
  summary: string;
  group: CommandGroup;
  /** Docker's other names of it. */
  aliases?: readonly string[];
  load: () => Promise<{ readonly command: Command }>;
}

/** Every command by its name, in the order of the help; two words for a subcommand. One dynamic import = one chunk. */
export const registry: Readonly<Record<string, RegistryEntry>> = {
  run: {
    summary: 'Run a command in a new container',
    group: 'common',
    aliases: ['container run'],
    load: () => import('./commands/run.ts'),
  },
  exec: {
    summary: 'Run one more command in a running container',
    group: 'common',
    aliases: ['container exec'],
    load: () => import('./commands/exec.ts'),
  },
  ps: {
    summary: 'List containers',
    group: 'common',
    aliases: ['container ls', 'container list', 'container ps'],
    load: () => import('./commands/ps.ts'),
  },
  build: {
    summary: 'Build an image from a Dockerfile',
    group: 'common',
    aliases: ['image build'],
    load: () => import('./commands/build.ts'),
  },
  pull: {
    summary: 'Fetch an image from a registry',
    group: 'common',
    aliases: ['image pull'],
    load: () => import('./commands/pull.ts'),
  },
  push: {
    summary: 'Send an image to a registry',
    group: 'common',
    aliases: ['image push'],
    load: () => import('./commands/push.ts'),
  },
  images: {
    summary: 'List images',
    group: 'common',
    aliases: ['image ls', 'image list'],
    load: () => import('./commands/images.ts'),
  },
  rm: {
    summary: 'Remove containers',
    group: 'common',
    aliases: ['container rm', 'container remove'],
    load: () => import('./commands/rm.ts'),
  },
  rmi: {
    summary: 'Remove images',
    group: 'common',
    aliases: ['image rm', 'image remove'],
    load: () => import('./commands/rmi.ts'),
  },
  inspect: {
    summary: 'Show all that is known of containers and images, as JSON',
    group: 'common',
    load: () => import('./commands/inspect.ts'),
  },
  attach: {
    summary: 'Attach to a running container',
    group: 'containers',
    aliases: ['container attach'],
    load: () => import('./commands/attach.ts'),
  },
  commit: {
    summary: "Make an image of a container's changes",
    group: 'containers',
    aliases: ['container commit'],
    load: () => import('./commands/commit.ts'),
  },
  create: {
    summary: 'Make a container without starting it',
    group: 'containers',
    aliases: ['container create'],
    load: () => import('./commands/create.ts'),
  },
  diff: {
    summary: 'Show what changed in a container, or from one image to another',
    group: 'containers',
    aliases: ['container diff'],
    load: () => import('./commands/diff.ts'),
  },
  kill: {
    summary: 'Kill running containers',
    group: 'containers',
    aliases: ['container kill'],
    load: () => import('./commands/kill.ts'),
  },
  logs: {
    summary: 'Show the output of a container',
    group: 'containers',
    aliases: ['container logs'],
    load: () => import('./commands/logs.ts'),
  },
  start: {
    summary: 'Start containers that do not run',
    group: 'containers',
    aliases: ['container start'],
    load: () => import('./commands/start.ts'),
  },
  stop: {
    summary: 'Stop running containers',
    group: 'containers',
    aliases: ['container stop'],
    load: () => import('./commands/stop.ts'),
  },
  wait: {
    summary: 'Wait for containers to end, and print their exit statuses',
    group: 'containers',
    aliases: ['container wait'],
    load: () => import('./commands/wait.ts'),
  },
  history: {
    summary: 'Show the history of an image',
    group: 'images',
    aliases: ['image history'],
    load: () => import('./commands/history.ts'),
  },
  import: {
    summary: 'Make an image from the tar of a root file system',
    group: 'images',
    aliases: ['image import'],
    load: () => import('./commands/import.ts'),
  },
  load: {
    summary: 'Load images from an archive or a directory',
    group: 'images',
    aliases: ['image load'],
    load: () => import('./commands/load.ts'),
  },
  save: {
    summary: 'Save images to an archive or a directory',
    group: 'images',
    aliases: ['image save'],
    load: () => import('./commands/save.ts'),
  },
  copy: {
    summary: 'Copy an image from one place to another, with the same digests',
    group: 'registries',
    load: () => import('./commands/copy.ts'),
  },
  login: {
    summary: 'Log in to a registry',
    group: 'registries',
    load: () => import('./commands/login.ts'),
  },
  logout: {
    summary: 'Log out from a registry',
    group: 'registries',
    load: () => import('./commands/logout.ts'),
  },
  tag: {
    summary: 'Give an image one more name',
    group: 'images',
    aliases: ['image tag'],
    load: () => import('./commands/tag.ts'),
  },
  'artifact pull': {
    summary: 'Get the files of an artifact from a registry',
    group: 'registries',
    load: () => import('./commands/artifact-pull.ts'),
  },
  'artifact push': {
    summary: 'Push files and directories to a registry, as oras does',
    group: 'registries',
    load: () => import('./commands/artifact-push.ts'),
  },
  'manifest annotate': {
    summary: 'Change what a list of manifests says of one of them',
    group: 'registries',
    load: () => import('./commands/manifest-annotate.ts'),
  },
  'manifest create': {
    summary: 'Make a list of manifests, for an image of several platforms',
    group: 'registries',
    load: () => import('./commands/manifest-create.ts'),
  },
  'manifest inspect': {
    summary: 'Show a list of manifests, or a manifest in a registry',
    group: 'registries',
    load: () => import('./commands/manifest-inspect.ts'),
  },
  'manifest push': {
    summary: 'Push a list of manifests, with those that its repository lacks',
    group: 'registries',
    load: () => import('./commands/manifest-push.ts'),
  },
  'manifest rm': {
    summary: 'Remove lists of manifests that are kept here',
    group: 'registries',
    load: () => import('./commands/manifest-rm.ts'),
  },
  referrers: {
    summary: 'List what refers to an image in its registry: signatures, SBOMs',
    group: 'registries',
    load: () => import('./commands/referrers.ts'),
  },
  tags: {
    summary: 'List the tags of a repository in a registry',
    group: 'registries',
    load: () => import('./commands/tags.ts'),
  },
  info: {
    summary: 'Show where things are kept, what works here, and how much there is',
    group: 'system',
    aliases: ['system info'],
    load: () => import('./commands/info.ts'),
  },
  prune: {
    summary: 'Remove untagged images, and what interrupted commands left',
    group: 'system',
    aliases: ['image prune'],
    load: () => import('./commands/prune.ts'),
  },
  'builder du': {
    summary: 'Show what the build cache keeps',
    group: 'system',
    load: () => import('./commands/builder-du.ts'),
  },
  'builder prune': {
    summary: 'Remove the build cache, or what of it is old or too much',
    group: 'system',
    load: () => import('./commands/builder-prune.ts'),
  },
  'registry gc': {
    summary: 'Remove what no manifest of a registry needs, while it serves',
    group: 'registries',
    load: () => import('./commands/registry-gc.ts'),
  },
  'registry serve': {
    summary: 'Serve a registry',
    group: 'registries',
    load: () => import('./commands/registry-serve.ts'),
  },
  'system df': {
    summary: 'Show how much disk is used, what is shared, and what could go',
    group: 'system',
    load: () => import('./commands/system-df.ts'),
  },
  'system prune': {
    summary: 'Remove stopped containers, unused images and the build cache',
    group: 'system',
    load: () => import('./commands/system-prune.ts'),
  },
  verify: {
    summary: 'Hash what is stored, make every index anew and compare',
    group: 'system',
    load: () => import('./commands/verify.ts'),
  },
  version: {
    summary: 'Show the versions of Imago and of what it runs on',
    group: 'system',
    load: () => import('./commands/version.ts'),
  },
  completion: {
    summary: 'Print the completion script for bash, zsh or fish',
    group: 'system',
    load: () => import('./commands/completion.ts'),
  },
  __complete: {
    summary: 'Print what may stand at the end of a command line',
    group: 'hidden',
    load: () => import('./commands/complete.ts'),
  },
};
