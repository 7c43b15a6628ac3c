/**
 * The URL of a worker thread's entry. `path` is its place under src/ without the extension ('store/ingest-worker').
 * In a checkout that is the TypeScript file itself; in dist/ the bundler made `ingest-worker.js` of it, beside every
 * other chunk. Each file named `*-worker.ts` becomes such an entry, so their base names must differ.
 */
export function workerUrl(path: string): URL {
  const here = import.meta.url;
  if (here.endsWith('.ts')) return new URL(`../${path}.ts`, here);
  return new URL(`./${path.slice(path.lastIndexOf('/') + 1)}.js`, here);
}
