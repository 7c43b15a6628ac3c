import type { Digest } from '../core/digest.ts';
import { shortId } from '../core/digest.ts';
import { ImagoError } from '../core/errors.ts';
import { runTogether } from '../core/limit.ts';
import type { ImageDraft } from '../image/draft.ts';
import { readImage } from '../image/image.ts';
import type { Descriptor } from '../oci/descriptor.ts';
import { isIndexType } from '../oci/media-types.ts';
import { formatReference, type Reference, repositoryName } from '../oci/reference.ts';
import type { Store } from '../store/store.ts';
import { pushName } from '../transfer/push.ts';
import type { PushEvent } from '../transfer/push-events.ts';
import { pushImage } from '../transfer/push-image.ts';
import { pushIndex } from '../transfer/push-index.ts';
import { type PushContext, pushLayer } from '../transfer/push-layer.ts';
import { Registries } from '../transfer/push-registries.ts';
import { pushWhole } from '../transfer/push-whole.ts';
import type { BuildOutput } from './output-options.ts';

export interface PushOutput {
  store: Store;
  output: BuildOutput;
  note(text: string): void;
  signal?: AbortSignal;
}

/** Layers on their way at one time, as in `pushImage`. */
const AT_ONCE = 3;

/**
 * The draft with its layers named as the registry of `name` has them: they are pushed first, since attestations name
 * a manifest that is not to change any more.
 */
export async function pushedForm(request: PushOutput, draft: ImageDraft, name: Reference): Promise<ImageDraft> {
  const { output, signal } = request;
  using registries = new Registries({ insecure: output.insecure, signal });
  await using target = registries.openTarget(name);
  const context = { ...contextOf(request, registries, target), recompress: output.forceCompression };
  const unique = new Map(draft.layers.map((layer) => [`${layer.diffId} ${layer.descriptor.digest}`, layer]));
  const entries = [...unique];
  const push = ([, layer]: (typeof entries)[number], ended: AbortSignal) =>
    pushLayer({ ...context, signal: ended }, { ...layer, ours: true });
  const results = await runTogether(entries, push, { signal, atOnce: AT_ONCE });
  const pushed = new Map(entries.map(([key], i) => [key, results[i]!]));
  return {
    ...draft,
    layers: draft.layers.map((layer) => ({
      ...layer,
      descriptor: { ...layer.descriptor, ...pushed.get(`${layer.diffId} ${layer.descriptor.digest}`)! },
    })),
  };
}

/** Pushes what was stored and named, byte for byte, under all its names. */
export async function pushOutput(
  request: PushOutput,
  descriptor: Descriptor,
  names: readonly Reference[],
): Promise<void> {
  const { store, output, signal, note } = request;
  if (output.pushByDigest !== true) {
    for (const name of names) {
      const { insecure, compression } = output;
      const pushed = await pushName(store, formatReference(name), {
        insecure,
        compression,
        signal,
        onEvent: (event) => tell(note, event),
      });
      checkSame(descriptor.digest, pushed[0]?.descriptor.digest);
    }
    return;
  }
  using registries = new Registries({ insecure: output.insecure, signal });
  for (const repository of new Map(names.map((name) => [repositoryName(name), name])).values()) {
    await using target = registries.openTarget(repository);
    const context = contextOf(request, registries, target);
    const pushed = await pushWhole(() =>
      isIndexType(descriptor.mediaType)
        ? pushIndex(context, descriptor, undefined)
        : pushImage(context, readImage(store, descriptor), undefined),
    );
    checkSame(descriptor.digest, pushed?.descriptor.digest);
    note(`pushed ${repositoryName(repository)}@${descriptor.digest}`);
  }
}

function contextOf(
  { store, output, note, signal }: PushOutput,
  registries: Registries,
  target: PushContext['target'],
): PushContext {
  return { store, registries, target, compression: output.compression, onEvent: (event) => tell(note, event), signal };
}

function tell(note: (text: string) => void, event: PushEvent): void {
  if (event.type === 'layer' && event.status === 'pushed') note(`pushed layer ${shortId(event.diffId)}`);
  else if (event.type === 'done') note(`pushed ${event.reference} ${event.digest}`);
}

/** Attestations would speak of something else. */
function checkSame(want: Digest, got: Digest | undefined): void {
  if (want === got) return;
  throw new ImagoError('PUSH_CHANGED', 'the image did not arrive as it was built', {
    want,
    got: got ?? 'a part of it',
  });
}
