import type { SbomScanner } from '../build/sbom/scan-plan.ts';
import { ImagoError } from '../core/errors.ts';
import { boolean, cut, FALSE, fieldsOf, TRUE } from './option-fields.ts';

/** How a provenance is written. */
export interface ProvenanceOptions {
  /** `max` tells build arguments and the Dockerfile itself. Default min. */
  mode?: 'min' | 'max';
  /** Of SLSA's predicate. Default v1. */
  version?: 'v0.2' | 'v1';
  builderId?: string;
  /** The user's word for it. */
  reproducible?: boolean;
}

export interface AttestOptions {
  provenance?: ProvenanceOptions;
  /** True: of what the package databases tell; or what an image finds. */
  sbom?: boolean | SbomScanner;
}

/**
 * `--provenance`, `--sbom` and `--attest` together, as docker buildx reads them: an empty value is none. Throws
 * `BAD_ATTESTATION`.
 */
export function parseAttestations(words: {
  provenance?: string;
  sbom?: string;
  attest?: readonly string[];
}): AttestOptions {
  const out: AttestOptions = {};
  const seen = new Set<string>();
  const take = (text: string, type?: string): void => {
    const pairs = readAttest(text, type);
    const kind = pairs.get('type');
    if (kind !== 'sbom' && kind !== 'provenance') {
      throw badAttest(
        kind === undefined ? 'an attestation has no type' : 'unknown attestation type',
        'type=sbom or type=provenance',
        text,
      );
    }
    if (seen.has(kind)) throw badAttest(`duplicate attestation field ${kind}`, 'one of each type', text);
    seen.add(kind);
    if (pairs.get('disabled') === 'true') return;
    if (kind === 'sbom') out.sbom = sbomOf(pairs, text);
    else out.provenance = provenanceOf(pairs, text);
  };
  for (const text of words.attest ?? []) take(text);
  if (words.provenance) take(words.provenance, 'provenance');
  if (words.sbom) take(words.sbom, 'sbom');
  return out;
}

function readAttest(text: string, type: string | undefined): Map<string, string> {
  const pairs = new Map<string, string>(type === undefined ? [] : [['type', type]]);
  if (type !== undefined && (TRUE.has(text) || FALSE.has(text))) return pairs.set('disabled', String(FALSE.has(text)));
  const fields = fieldsOf(text, 'BAD_ATTESTATION', 'attestation').map((field) =>
    cut(field, 'BAD_ATTESTATION', 'attestation'),
  );
  const kind = type ?? fields.findLast(([key]) => key === 'type')?.[1];
  for (const [key, value, written] of fields) {
    if (key === 'disabled') pairs.set(key, String(TRUE.has(value)));
    // A generator's parameters are as they are written.
    else pairs.set(kind !== 'sbom' || key === 'type' || key === 'generator' ? key : written, value);
  }
  return pairs;
}

/** Whatever else it says is for the generator. */
function sbomOf(pairs: ReadonlyMap<string, string>, text: string): true | SbomScanner {
  const { type: _type, disabled: _disabled, generator, ...parameters } = Object.fromEntries(pairs);
  if (generator !== undefined && generator !== '') return { generator, parameters };
  const [unknown] = Object.keys(parameters);
  if (unknown === undefined && generator === undefined) return true;
  const problem =
    unknown === undefined ? 'the generator of an SBOM has no name' : `unknown option ${unknown} of an SBOM`;
  throw badAttest(problem, 'type=sbom, or type=sbom,generator=IMAGE', text);
}

function provenanceOf(pairs: ReadonlyMap<string, string>, text: string): ProvenanceOptions {
  const options: ProvenanceOptions = {};
  for (const [key, value] of pairs) {
    if (key === 'mode' && (value === 'min' || value === 'max')) options.mode = value;
    else if (key === 'version' && (value === 'v1' || value === 'v0.2')) options.version = value;
    else if (key === 'builder-id') options.builderId = value;
    else if (key === 'reproducible') options.reproducible = boolean(key, value);
    else if (key !== 'type' && key !== 'disabled' && key !== 'inline-only') {
      throw badAttest(
        `bad option ${key} of a provenance`,
        'mode=min|max, version=v0.2|v1, builder-id=…, reproducible=…',
        text,
      );
    }
  }
  return options;
}

function badAttest(summary: string, want: string, got: string, remedy?: string): ImagoError {
  return new ImagoError('BAD_ATTESTATION', summary, { want, got, remedy, exitCode: 125 });
}
