import { randomUUID } from 'node:crypto';
import type { ImageFiles } from '../build/context/image-source.ts';
import type { StepProgress } from '../build/events.ts';
import { type BuildFacts, composeProvenance } from '../build/provenance.ts';
import { composeSbom } from '../build/sbom/sbom.ts';
import { ImagoError } from '../core/errors.ts';
import { composeStatement, type Predicate } from '../image/attestation.ts';
import type { ImageDraft } from '../image/draft.ts';
import type { Platform } from '../oci/platform.ts';
import { familiarReference, type Reference } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import type { AttestOptions } from './attest-options.ts';
import { fileSubjects } from './output-files.ts';

/** What a build made for one platform. */
export interface BuiltPlatform {
  platform: Platform;
  draft: ImageDraft;
  /** What a scanner found of it. */
  sbom?: readonly Predicate[];
}

export interface AttestRequest {
  store: Store;
  /** Of `--tag`. */
  references: readonly Reference[];
  attest: AttestOptions;
  /** The build so far; told in a provenance. */
  facts: Omit<BuildFacts, 'invocationId' | 'finished'>;
  epoch?: Date;
  signal?: AbortSignal;
}

/** What is said of a build's result: how it was made, and what is in it. */
export class Attestations {
  readonly #request: AttestRequest;
  readonly #facts: BuildFacts;

  constructor(request: AttestRequest) {
    this.#request = request;
    this.#facts = { ...request.facts, invocationId: randomUUID().replaceAll('-', ''), finished: new Date() };
  }

  /** About one platform's image. */
  async predicates({ sbom }: BuiltPlatform, draft: ImageDraft, step?: StepProgress): Promise<Predicate[]> {
    const { store, attest, epoch, references } = this.#request;
    const out: Predicate[] = [...(sbom ?? [])];
    if (attest.sbom === true) {
      // As old as the image: the same image has the same document.
      const created = epoch ?? new Date(draft.config.created ?? 0);
      const name = references[0] === undefined ? 'image' : familiarReference(references[0]);
      out.push(await composeSbom(store, draft, { created, name, note: (text) => step?.note(text) }));
    }
    if (attest.provenance !== undefined) out.push(this.provenance());
    return out;
  }

  provenance(): Predicate {
    const {
      mode = 'min',
      version = 'v1',
      builderId = '',
      reproducible = false,
    } = this.#request.attest.provenance ?? {};
    return composeProvenance(this.#facts, { mode, version, builderId, reproducible });
  }

  /** Attestations of a result that is files: about each of them. */
  async statements(
    image: BuiltPlatform,
    draft: ImageDraft,
    files: ImageFiles,
    step: StepProgress,
  ): Promise<{ name: string; bytes: Uint8Array }[]> {
    const predicates = await this.predicates(image, draft, step);
    checkNames(predicates);
    if (predicates.length === 0) return [];
    const subjects = await fileSubjects(files, this.#request.signal);
    return predicates.map((predicate) => ({
      name: predicate.fileName,
      bytes: Buffer.from(`${JSON.stringify(composeStatement(predicate, subjects), null, 2)}\n`),
    }));
  }
}

function checkNames(predicates: readonly Predicate[]): void {
  const names = predicates.map(({ fileName }) => fileName);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice === undefined) return;
  throw new ImagoError('BAD_SCAN', `two attestations would be called ${twice}`, { remedy: 'leave one of them out' });
}
