import { serveRegistry } from '../../engine/registry-serve.ts';
import type { Command } from '../command.ts';
import { reportError } from '../failure.ts';

export const command: Command = {
  name: 'registry serve',
  summary: 'Serve a registry',
  usage: '[OPTIONS]',
  description: 'All settings are in docs/registry.md; flags win over those of a config file.',
  options: {
    address: { type: 'string', value: 'host:port', complete: 'none', help: 'Where to listen (127.0.0.1:5000)' },
    'anonymous-pull': { type: 'boolean', help: 'Pulling needs no password' },
    config: { type: 'string', short: 'c', value: 'file', help: 'Settings (YAML)' },
    'gc-interval': { type: 'string', value: 'time', complete: 'none', help: 'Collect garbage this often, such as 24h' },
    htpasswd: { type: 'string', value: 'file', help: 'Users and their bcrypt hashes' },
    'log-format': { type: 'string', complete: ['json', 'text'], help: "'json' (default) or 'text'" },
    'metrics-address': { type: 'string', value: 'host:port', complete: 'none', help: 'Serve /metrics there instead' },
    proxy: { type: 'string', value: 'url', complete: 'none', help: 'Be a pull-through cache of that registry' },
    'read-only': { type: 'boolean', help: 'Refuse pushes and deletes' },
    storage: { type: 'string', value: 'dir', help: 'A directory, or s3://bucket/prefix' },
    'tls-cert': { type: 'string', value: 'file', help: 'Certificate and its chain (PEM)' },
    'tls-key': { type: 'string', value: 'file', help: "The certificate's key (PEM)" },
  },
  args: { min: 0, max: 0 },
  async run({ options, stdout }) {
    const text = (name: string): string | undefined => options[name] as string | undefined;
    const running = await serveRegistry({
      write: (lines) => stdout.write(lines),
      config: text('config'),
      address: text('address'),
      storage: text('storage'),
      proxy: text('proxy'),
      tlsCert: text('tls-cert'),
      tlsKey: text('tls-key'),
      htpasswd: text('htpasswd'),
      logFormat: text('log-format'),
      metricsAddress: text('metrics-address'),
      gcInterval: text('gc-interval'),
      readOnly: options['read-only'] === true,
      anonymousPull: options['anonymous-pull'] === true,
    });
    // One request's mistake of ours must not end the others.
    process.on('unhandledRejection', (error) => void reportError(error));
    await stopSignal();
    await running.stop();
    return 0;
  },
};

/** The first SIGINT, SIGTERM or SIGHUP (its terminal was closed); a second one ends the process at once. Not `context.signal`: to stop is no failure here. */
function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false;
    for (const [name, status] of [
      ['SIGHUP', 129],
      ['SIGINT', 130],
      ['SIGTERM', 143],
    ] as const) {
      process.on(name, () => {
        if (stopping) process.exit(status);
        stopping = true;
        resolve();
      });
    }
  });
}
