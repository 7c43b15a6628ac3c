import { formatPlatform, parsePlatform } from '../oci/platform.ts';
import { bad } from './option-fields.ts';

/** Where an annotation goes: the manifest of an image, the index, or the descriptor that names one of them. */
export type AnnotationPlace = 'manifest' | 'index' | 'manifest-descriptor' | 'index-descriptor';

export interface Annotation {
  place: AnnotationPlace;
  /** `os/architecture`: of this platform's image only. */
  platform?: string;
  key: string;
  value: string;
}

const PLACES = ['manifest', 'index', 'manifest-descriptor', 'index-descriptor'] as const;

/** An option of `--output`: `annotation.key`, `annotation-index.key`, `annotation-manifest[linux/amd64].key`. */
export function annotationOf(name: string, value: string): Annotation {
  const match = /^annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)$/.exec(name);
  if (match === null) throw bad('malformed annotation', 'annotation[-place][platform].key=value', name);
  return placed(match[1] ?? 'manifest', match[2], match[3]!, value, name);
}

/** The value of `--annotation`: `[place[platform][,place…]:]key=value`. One for each place. Throws `BAD_OUTPUT`. */
export function parseAnnotation(text: string): Annotation[] {
  const match = /^(?:([a-z-]+(?:\[[A-Za-z0-9_/-]+\])?(?:,[a-z-]+(?:\[[A-Za-z0-9_/-]+\])?)*):)?([^=\s]+)=(.*)$/s.exec(
    text,
  );
  if (match === null) throw bad('malformed annotation', '[manifest:|index:|…]key=value', text);
  const [, places = 'manifest', key, value] = match;
  return places.split(',').map((place) => {
    const [, name, platform] = /^([a-z-]+)(?:\[(.*)\])?$/.exec(place)!;
    return placed(name!, platform, key!, value!, text);
  });
}

function placed(place: string, platform: string | undefined, key: string, value: string, text: string): Annotation {
  if (!(PLACES as readonly string[]).includes(place))
    throw bad('unknown place of an annotation', PLACES.join(', '), text);
  const annotation: Annotation = { place: place as AnnotationPlace, key, value };
  if (platform === undefined) return annotation;
  if (place.startsWith('index')) throw bad('an index has no platform', `annotation-${place}.KEY`, text);
  return { ...annotation, platform: formatPlatform(parsePlatform(platform)) };
}
