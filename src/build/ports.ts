import { ImagoError } from '../core/errors.ts';

const PROTOCOLS = new Set(['tcp', 'udp', 'sctp']);

/** EXPOSE's `80`, `80/udp`, `8000-8010/tcp` as the image config has them: `80/tcp`. A host part is left away. */
export function parsePorts(text: string): string[] {
  const slash = text.indexOf('/');
  const protocol = (slash < 0 ? 'tcp' : text.slice(slash + 1)).toLowerCase();
  const range = (slash < 0 ? text : text.slice(0, slash)).split(':').at(-1)!;
  const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(range);
  const first = Number(match?.[1]);
  const last = Number(match?.[2] ?? match?.[1]);
  if (match === null || last > 65535 || first > last || !PROTOCOLS.has(protocol)) {
    throw new ImagoError('BAD_PORT', `invalid containerPort: ${text}`, {
      want: 'a port or a range of ports, as 80, 53/udp or 8000-8010/tcp',
    });
  }
  return Array.from({ length: last - first + 1 }, (_, i) => `${first + i}/${protocol}`);
}
