import { ImagoError, isImagoError } from '../../core/errors.ts';
import { findLogin, type LoginResult, logIn } from '../../transfer/login.ts';
import { INSECURE, registryOptions } from '../client-options.ts';
import type { Command, CommandContext } from '../command.ts';
import { promptLine } from '../prompt.ts';

const MAX_PASSWORD = 64 * 1024;

export const command: Command = {
  name: 'login',
  summary: 'Log in to a registry',
  usage: '[OPTIONS] [SERVER]',
  description:
    "Shows the credentials to the registry and keeps them in Docker's config.json, or in the helper that it names.\nWithout SERVER the registry is Docker Hub.",
  options: {
    insecure: INSECURE,
    password: {
      type: 'string',
      short: 'p',
      help: 'Password (others see it in the list of processes)',
      complete: 'none',
    },
    'password-stdin': { type: 'boolean', help: 'Take the password from stdin' },
    username: { type: 'string', short: 'u', help: 'User name', complete: 'none' },
  },
  args: { min: 0, max: 1 },
  complete: 'none',
  async run(context) {
    const { args, stdout, stderr } = context;
    const given = await givenCredentials(context);
    const result =
      (await useStored(context, given)) ??
      (await logIn(args[0], await completeCredentials(context, given), registryOptions(context)));
    if (result.place.kind === 'file') stderr.write(unencrypted(result.place.path));
    stdout.write('Login Succeeded\n');
    return 0;
  },
};

interface Given {
  username?: string;
  password?: string;
}

/** What the flags and stdin have. */
async function givenCredentials(context: CommandContext): Promise<Given> {
  const { options, stderr, stdin } = context;
  const username = options.username as string | undefined;
  const password = options.password as string | undefined;
  const fromInput = options['password-stdin'] === true;
  if (password !== undefined) {
    // Docker's words, here and below.
    stderr.write('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n');
    if (fromInput) throw new ImagoError('BAD_USAGE', '--password and --password-stdin are mutually exclusive');
  }
  if (!fromInput) return { username, password };
  if (!username) throw new ImagoError('BAD_USAGE', 'Must provide --username with --password-stdin');
  let text = '';
  stdin.setEncoding('utf8');
  for await (const chunk of stdin) {
    text += chunk;
    if (text.length > MAX_PASSWORD) throw new ImagoError('BAD_USAGE', 'what comes on stdin is no password: too long');
  }
  return { username, password: text.replace(/\r?\n$/, '') };
}

/** Nothing was given, and something is stored: that is tried first, as Docker does. */
async function useStored(context: CommandContext, given: Given): Promise<LoginResult | undefined> {
  if (given.username !== undefined || given.password !== undefined) return undefined;
  const { args, stdout, stderr } = context;
  const client = registryOptions(context);
  const stored = await findLogin(args[0], client);
  if (stored === undefined) return undefined;
  stdout.write('Authenticating with existing credentials...\n');
  try {
    return await logIn(args[0], stored, client);
  } catch (error) {
    if (!isImagoError(error, 'UNAUTHORIZED') && !isImagoError(error, 'DENIED')) throw error;
    stderr.write(`Login did not succeed, error: ${error.message}\n`);
    return undefined;
  }
}

async function completeCredentials(
  context: CommandContext,
  given: Given,
): Promise<{ username: string; password: string }> {
  const username = given.username || (await promptLine(context, 'Username: ')).trim();
  if (username === '') throw new ImagoError('BAD_USAGE', 'username is empty');
  const password = given.password ?? (await promptLine(context, 'Password: ', { hidden: true }));
  if (password === '') throw new ImagoError('BAD_USAGE', 'password is empty');
  return { username, password };
}

function unencrypted(path: string): string {
  return `WARNING! Your password will be stored unencrypted in ${path}.
Configure a credential helper to remove this warning. See
https://docs.docker.com/engine/reference/commandline/login/#credential-stores

`;
}
