import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Plugin } from 'rolldown';

/** Beside the bundle: the packages that are in it, with their licences. */
const FILE = 'THIRD-PARTY.txt';
const RULE = '='.repeat(100);

/** Writes the licences of all packages whose code the bundler took, and fails the build for a package without one. */
export function listThirdParty(): Plugin {
  return {
    name: 'third-party',
    generateBundle(_options, bundle) {
      const modules = Object.values(bundle).flatMap((file) => (file.type === 'chunk' ? file.moduleIds : []));
      const directories = new Set(modules.map(packageOf).filter((directory) => directory !== undefined));
      const entries = [...directories].map(describe).sort((a, b) => (a.title < b.title ? -1 : 1));
      const titles = entries.map(({ title, license }) => `${title} (${license})`);
      // Many share a text to the letter.
      const texts = [...Map.groupBy(entries, ({ text }) => text)].map(([text, those]) => {
        const heading = those.map(({ title }) => title).join('\n');
        return `${RULE}\n${heading}\n${RULE}\n\n${text}\n`;
      });
      const source = ['Imago contains code of these packages:', '', ...titles, '', ...texts].join('\n');
      this.emitFile({ type: 'asset', fileName: FILE, source });
    },
  };
}

function packageOf(id: string): string | undefined {
  return /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(id)?.[0];
}

function describe(directory: string): { title: string; license: string; text: string } {
  const { name, version, license } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const files = readdirSync(directory).filter((file) => /^(?:licen[cs]e|copying|notice)(?:[.-].*)?$/i.test(file));
  const texts = files.map((file) => readFileSync(join(directory, file), 'utf8').trim());
  // Imago's own: its text lies beside dist/.
  if (files.length === 0 && license === 'Apache-2.0') texts.push('Apache License, Version 2.0: see ../LICENSE');
  if (typeof license !== 'string' || texts.length === 0) throw new Error(`${name} ${version} comes without a licence`);
  return { title: `${name} ${version}`, license, text: texts.join('\n\n') };
}
