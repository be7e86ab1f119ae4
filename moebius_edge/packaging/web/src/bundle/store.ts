/**
 * The files of the bundle: fetched once, checked against the manifest, kept in Cache Storage.
 *
 * A file is checked every time that it is read, so that neither a damaged download nor a damaged cache ever gets
 * to the engine. A host is asked for a file under a name with its hash: two packages never mix.
 */

import { sha256 } from "./hash.js";
import { type FileEntry, PackageError } from "./manifest.js";

export type Bytes = Uint8Array<ArrayBuffer>;

/** The connection was lost. What has arrived is kept, and trying again goes on from there. */
export class ConnectionLost extends Error {
  override name = "ConnectionLost";
}

export interface StoreEvents {
  /** Bytes of one file that have arrived so far. */
  onProgress(name: string, received: number): void;
  /** One sentence for the user about something that was put right. */
  onNotice(sentence: string): void;
}

const CACHE = "moebius-model";

export class Store {
  private readonly memory = new Map<string, Bytes>(); // where Cache Storage takes no more
  private readonly partial = new Map<string, { bytes: Bytes; received: number }>();

  /** `folder` is the URL of the bundle, `files` those of its manifest. */
  constructor(
    private readonly folder: string,
    private readonly files: Record<string, FileEntry>,
    private readonly events: StoreEvents,
  ) {}

  /** Whether some files could not be kept and are held in memory until the page is closed. */
  get inMemory(): boolean {
    return this.memory.size > 0;
  }

  /**
   * A file of the bundle, whole and as its author wrote it.
   *
   * @throws ConnectionLost when the network fails, PackageError when the host has another file
   */
  async read(name: string): Promise<Bytes> {
    const held = this.memory.get(name);
    if (held) return held.slice(); // the caller gives its copy away to a worker
    return (await this.fromCache(name)) ?? (await this.download(name));
  }

  /** Make sure that a file is there, without keeping it in memory. */
  async ensure(name: string): Promise<void> {
    if (!this.memory.has(name)) await this.read(name);
  }

  /** Delete what other versions of the package have left in the cache. */
  async prune(): Promise<void> {
    const cache = await openCache();
    const current = new Set(Object.keys(this.files).map((name) => this.url(name)));
    for (const request of (await cache?.keys()) ?? []) {
      if (!current.has(request.url)) await cache?.delete(request);
    }
  }

  private entry(name: string): FileEntry {
    const entry = this.files[name];
    if (!entry) throw new PackageError(`The manifest lists no file ${name}. Export the bundle again.`);
    return entry;
  }

  private url(name: string): string {
    return `${new URL(name, this.folder).href}?sha256=${this.entry(name).sha256}`;
  }

  /** The file from the cache; null where it is not there, or damaged and therefore removed. */
  private async fromCache(name: string): Promise<Bytes | null> {
    const { size, sha256: expected } = this.entry(name);
    const cache = await openCache();
    let bytes: Bytes;
    try {
      const response = await cache?.match(this.url(name));
      if (!response) return null;
      bytes = new Uint8Array(await response.arrayBuffer());
    } catch {
      bytes = new Uint8Array(); // an entry that cannot be read counts as damaged
    }
    if (bytes.length === size && (await sha256(bytes)) === expected) {
      this.events.onProgress(name, size);
      return bytes;
    }
    await cache?.delete(this.url(name));
    this.events.onNotice(`${name} was damaged in this browser's cache; it was removed and is fetched again.`);
    return null;
  }

  private async download(name: string): Promise<Bytes> {
    for (const mode of ["default", "reload"] as const) {
      const bytes = await this.receive(name, mode);
      if ((await sha256(bytes)) === this.entry(name).sha256) {
        await this.keep(name, bytes);
        return bytes;
      }
      // A proxy or the browser's own HTTP cache may hold a damaged copy: ask once more, past them.
    }
    throw new PackageError(
      `${name} on the host is not the file that the manifest lists: its SHA-256 differs. Copy the package there again.`,
    );
  }

  /** Read the body into one array of the known size, going on after what a lost connection has left. */
  private async receive(name: string, mode: RequestCache): Promise<Bytes> {
    const { size } = this.entry(name);
    const state = this.partial.get(name) ?? { bytes: new Uint8Array(size), received: 0 };
    this.partial.set(name, state);
    try {
      const headers: HeadersInit = state.received ? { Range: `bytes=${state.received}-` } : {};
      const response = await fetch(this.url(name), { headers, cache: mode });
      if (!response.ok) {
        throw new PackageError(`The host answered ${response.status} for ${name}. Copy the whole package to the host.`);
      }
      if (response.status !== 206) state.received = 0; // the host begins at the start
      await this.readBody(name, response, state);
    } catch (error) {
      if (error instanceof PackageError) throw error;
      throw new ConnectionLost(
        `The connection was lost while ${name} was loading. What has arrived is kept; check the connection and try again.`,
      );
    }
    this.partial.delete(name);
    return state.bytes;
  }

  private async readBody(name: string, response: Response, state: { bytes: Bytes; received: number }): Promise<void> {
    const reader = response.body!.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      if (state.received + value.length > state.bytes.length) {
        await reader.cancel();
        this.partial.delete(name);
        throw new PackageError(`${name} on the host is larger than the manifest says. Copy the package there again.`);
      }
      state.bytes.set(value, state.received);
      state.received += value.length;
      this.events.onProgress(name, state.received);
    }
    if (state.received < state.bytes.length) throw new Error("cut off");
  }

  private async keep(name: string, bytes: Bytes): Promise<void> {
    const cache = await openCache();
    try {
      if (!cache) throw new Error("there is no cache");
      await cache.put(this.url(name), new Response(bytes));
    } catch {
      // QuotaExceededError, a private window, or storage that the user has switched off: all the same to us.
      if (!this.inMemory) {
        this.events.onNotice(
          "This browser has no room to keep the model: it runs from memory, and will be fetched again at the next visit.",
        );
      }
      this.memory.set(name, bytes.slice());
    }
  }
}

async function openCache(): Promise<Cache | null> {
  try {
    return await caches.open(CACHE);
  } catch {
    return null;
  }
}
