import { isImagoError } from '../core/errors.ts';
import { openRepository, type Repository } from '../registry/client/repository.ts';
import { openTransport } from '../registry/client/transport.ts';
import type { ClientOptions } from '../registry/client/types.ts';
import { collectGarbage } from '../registry/server/collect.ts';
import { collectInterval, collectSettings } from '../registry/server/collector.ts';
import type { ProxySettings } from '../registry/server/config.ts';
import { composeServeConfig, type ServeFlags } from '../registry/server/config-overrides.ts';
import { Log } from '../registry/server/log.ts';
import { createProxy } from '../registry/server/proxy.ts';
import { type RunningRegistry, startRegistry } from '../registry/server/serve.ts';
import { readSettingsFile } from '../registry/server/settings-file.ts';
import type { Upstream } from '../registry/server/upstream.ts';
import { openStorage } from '../registry/storage/open.ts';
import { defaultRegistryStorage } from './registry-storage.ts';

export interface ServeRegistryOptions extends ServeFlags {
  /** Gets the log, whole lines at a time. */
  write: (text: string) => void;
}

/** Serves a registry until `stop` of what it returns is called. docs/registry.md has all settings. */
export async function serveRegistry({ write, ...flags }: ServeRegistryOptions): Promise<RunningRegistry> {
  const config = composeServeConfig(flags, process.cwd());
  const log = new Log({ format: config.log.format, write });
  const storage = await openStorage(config.storage ?? defaultRegistryStorage());
  const upstream = config.proxy && openUpstream(config.proxy);
  try {
    const running = await startRegistry(
      // What is pushed here would not be upstream.
      {
        ...config,
        readOnly: config.readOnly || upstream !== undefined,
        gc: { ...config.gc, interval: collectInterval(config) },
      },
      {
        storage,
        log,
        collect: (signal: AbortSignal) => collectGarbage({ ...collectSettings(config), storage, signal }),
        ...(upstream && { proxy: createProxy({ storage, upstream, log, ...config.proxy!, ...config.limits }) }),
      },
    );
    log.info('listening', { url: running.url, metrics: running.metricsAddress, storage: storage.title });
    log.flush();
    const stop = async (): Promise<void> => {
      await running.stop();
      upstream?.close();
      await storage.close();
    };
    return { ...running, stop };
  } catch (error) {
    upstream?.close();
    await storage.close();
    throw error;
  }
}

/** A registry as a pull-through cache asks it, by our own client. No credentials but those of the settings are used. */
function openUpstream(settings: ProxySettings): Upstream & { close(): void } {
  const { protocol, host, hostname } = new URL(settings.url);
  const domain = /^(?:index\.|registry-1\.|www\.)?docker\.io$/.test(hostname) ? 'docker.io' : host;
  // Whoever runs this server may have logged in somewhere, or uses this server as a mirror.
  const nowhere = '/nonexistent';
  const options: ClientOptions = {
    insecure: settings.insecure || protocol === 'http:',
    environment: { ...process.env, DOCKER_CONFIG: nowhere, REGISTRY_AUTH_FILE: nowhere, IMAGO_REGISTRIES: nowhere },
    ...(settings.username !== undefined && {
      credentials: { username: settings.username, password: readSettingsFile(settings.passwordFile!).trim() },
    }),
  };
  const transport = openTransport(domain, options);
  const at = (path: string): Repository => openRepository({ domain, path }, options, transport);
  return {
    title: settings.url,
    headManifest: async (path, tag, asking) => (await at(path).headManifest(tag, asking))?.digest,
    async getManifest(path, digest, asking) {
      try {
        return await at(path).getManifest(digest, asking);
      } catch (error) {
        if (isImagoError(error, 'MANIFEST_UNKNOWN')) return undefined;
        throw error;
      }
    },
    statBlob: (path, digest, asking) => at(path).headBlob(digest, asking),
    readBlob: (path, blob, asking) => at(path).readBlob(blob, asking),
    close: () => transport[Symbol.dispose](),
  };
}
