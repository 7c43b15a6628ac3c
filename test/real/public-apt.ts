/** Debian 12's packages and sources through apt-get, with lists of its own: the machine's apt is left as it is. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from './public-run.ts';

export interface Apt {
  /** URL. */
  mirror: string;
  /** Fetches packages' .deb files into a directory. Throws if one can't be had. */
  download(packages: readonly string[], directory: string): Promise<void>;
  /** Fetches the upstream archives of source packages into a directory; those that can't be had are not there. */
  source(packages: readonly string[], directory: string): Promise<void>;
}

/** From the mirror that this machine's apt has. Throws, in words, where there is none or it does not answer. */
export async function openApt(home: string): Promise<Apt> {
  const format = '$(CODENAME) $(ORIGIN) $(COMPONENT) $(REPO_URI)';
  const { stdout } = await run(['apt-get', 'indextargets', '--format', format, 'Created-By: Packages']);
  const mirror = stdout
    .split('\n')
    .find((line) => /^\w+ Debian main /.test(line))
    ?.split(' ')[3];
  if (mirror === undefined) throw new Error("apt has no mirror of Debian's");
  mkdirSync(join(home, 'lists/partial'), { recursive: true });
  mkdirSync(join(home, 'cache/archives/partial'), { recursive: true });
  const signed = '[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]';
  const lines = ['deb', 'deb-src'].map((kind) => `${kind} ${signed} ${mirror} bookworm main\n`);
  writeFileSync(join(home, 'sources.list'), lines.join(''));
  writeFileSync(join(home, 'status'), '');
  const settings = {
    'Dir::Etc::sourcelist': join(home, 'sources.list'),
    'Dir::Etc::sourceparts': '-',
    'Dir::State::lists': join(home, 'lists'),
    'Dir::State::status': join(home, 'status'),
    'Dir::Cache': join(home, 'cache'),
    'APT::Sandbox::User': 'root',
    'APT::Update::Post-Invoke-Success': '',
    'Acquire::Languages': 'none',
    'Acquire::Retries': '2',
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ['-o', `${key}=${value}`]);
  const get = (words: string[], cwd = home) => run(['apt-get', ...options, '-qq', ...words], { cwd });
  const updated = await get(['update']);
  if (updated.status !== 0) throw new Error(`the mirror does not answer: ${updated.stderr.trim()}`);
  return {
    mirror,
    async download(packages, directory) {
      const { status, stderr } = await get(['download', ...packages], directory);
      if (status !== 0) throw new Error(stderr.trim());
    },
    async source(packages, directory) {
      await get(['source', '--download-only', '--tar-only', ...packages], directory);
    },
  };
}
