/** The model as the page sees it: downloads, the worker that computes, the self-test. */

import * as Comlink from "comlink";
import { type App, filesOf, type Manifest, PackageError, readPackage } from "./bundle/manifest.js";
import { ConnectionLost, Store } from "./bundle/store.js";
import type { EngineApi } from "./engine.worker.js";
import { GRAPHS, type OnRun } from "./loop/loop.js";
import { type HoleJobs, type RunPass, runPasses } from "./loop/passes.js";
import { makeSchedule, refining } from "./loop/schedule.js";
import type { DeviceProfile, ProfileOptions } from "./profile.js";
import type { SelfTest } from "./selftest.js";
import { bestUnit, threadCount, type Unit } from "./units.js";

/** A self-test that was done, and where. */
export interface Proof {
  files_sha256: string;
  agent: string;
  unit: Unit;
  version: string; // of onnxruntime-web
  threads: number;
  result: SelfTest;
}

/** What can be chosen for an edit, of what concerns the model. */
export interface Settings {
  seed: bigint;
  steps: number;
  guidance: number;
}

/** What the photo's side gives of an edit. */
export interface Planned {
  holes: HoleJobs[];
  refine: number; // strength of the second passes; 0: there are none
}

/** The user has stopped it. */
export class Cancelled extends Error {
  override name = "Cancelled";
}

export interface ModelEvents {
  onDownload(received: number, total: number): void;
  onNotice(sentence: string): void;
}

const PROOF_KEY = "moebius-selftest";

export class Model {
  private worker: { handle: Worker; api: Comlink.Remote<EngineApi>; failed: Promise<never> } | null = null;
  private stop: ((reason: Error) => void) | null = null;
  private version = "";

  private constructor(
    readonly app: App,
    readonly manifest: Manifest,
    private readonly store: Store,
    private names: string[],
    private unit: Unit,
    private readonly unitGiven: boolean,
  ) {}

  /**
   * Read what is in the package. `unit`: only this engine, whatever the browser has.
   *
   * @throws ConnectionLost, PackageError
   */
  static async open(base: string, events: ModelEvents, unit?: Unit): Promise<Model> {
    const { app, manifest } = await readPackage((path) => fetchText(new URL(path, base).href));
    const names = [...GRAPHS.flatMap((graph) => filesOf(manifest, graph)), manifest.capsule];
    const received = new Map<string, number>(); // only while `download` runs: later reads are not news
    const total = names.reduce((sum, name) => sum + (manifest.files[name]?.size ?? 0), 0);
    const store = new Store(new URL(`${app.model_folder}/`, base).href, manifest.files, {
      onProgress: (name, count) => {
        if (model.names.length === 0) return;
        received.set(name, count);
        events.onDownload([...received.values()].reduce((sum, each) => sum + each, 0), total);
      },
      onNotice: (sentence) => events.onNotice(sentence),
    });
    const model = new Model(app, manifest, store, names, unit ?? (await bestUnit()), unit !== undefined);
    return model;
  }

  /** Fetch what is not there yet, and check all of it. May be called again after ConnectionLost. */
  async download(): Promise<void> {
    while (this.names.length > 0) {
      await this.store.ensure(this.names[0]!);
      this.names = this.names.slice(1);
    }
    await this.store.prune();
  }

  /** What computes, in words. */
  get engine(): string {
    if (this.unit === "webgpu") return "WebGPU";
    const threads = threadCount();
    return `WebAssembly, ${threads} ${threads === 1 ? "thread" : "threads"}`;
  }

  /** What this browser's last self-test of these files found; null where there was none. */
  rememberedProof(): Proof | null {
    try {
      const proof = JSON.parse(localStorage.getItem(PROOF_KEY) ?? "null") as Proof | null;
      const same = proof?.files_sha256 === this.app.files_sha256 && proof.agent === navigator.userAgent;
      if (!proof || !same || (this.unitGiven && proof.unit !== this.unit)) return null;
      this.unit = proof.unit; // it may have been WebAssembly because WebGPU failed
      return proof;
    } catch {
      return null;
    }
  }

  /** Replay the capsule. Where WebGPU fails it, WebAssembly is tested and used from then on. */
  async selfTest(onRun: OnRun): Promise<Proof> {
    let result: SelfTest | null = null;
    try {
      result = await this.call((api, heard) => api.selfTest(heard), onRun);
    } catch (error) {
      if (this.unit === "wasm" || this.unitGiven || isForeign(error)) throw error;
    }
    if (!result?.ok && this.unit === "webgpu" && !this.unitGiven) {
      this.unit = "wasm";
      this.end(null);
      result = await this.call((api, heard) => api.selfTest(heard), onRun);
    }
    const proof: Proof = {
      files_sha256: this.app.files_sha256,
      agent: navigator.userAgent,
      unit: this.unit,
      version: this.version,
      threads: threadCount(),
      result: result!,
    };
    try {
      localStorage.setItem(PROOF_KEY, JSON.stringify(proof));
    } catch {
      // A private window: it is tested again at the next visit.
    }
    return proof;
  }

  /** Inpaint hole by hole. Throws Cancelled after `cancel`, but while a hole's functions work: they are to do it then. */
  async run({ holes, refine }: Planned, settings: Settings, onRun: OnRun): Promise<void> {
    const { scheduler, defaults } = this.manifest;
    const { seed, steps, guidance } = settings;
    const first = makeSchedule(scheduler, defaults, steps, defaults.strength);
    const second = refining(first, scheduler, refine);
    const runPass: RunPass = (job, schedule, onRun) =>
      this.call((api, heard) => api.run(job, { schedule, seed, guidance }, heard), onRun);
    await runPasses(runPass, holes, { first, second }, onRun);
  }

  /** The measurement of docs/devices.md. */
  profile(options: ProfileOptions, onRun: OnRun): Promise<DeviceProfile> {
    return this.call((api, heard) => api.profile(options, heard), onRun);
  }

  /** Stop what runs, at once: the worker is ended, and the next run starts another. */
  cancel(): void {
    this.end(new Cancelled("Stopped."));
  }

  /** Let the worker do something. What it says of progress may arrive after its result: then it is not `heard`. */
  private async call<T>(work: (api: Comlink.Remote<EngineApi>, heard: OnRun) => Promise<T>, onRun: OnRun): Promise<T> {
    const stopped = new Promise<never>((_, reject) => (this.stop = reject));
    stopped.catch(() => undefined); // nobody may be waiting any more
    let running = true;
    const heard = Comlink.proxy((done: number, total: number) => {
      if (running) onRun(done, total);
    });
    try {
      const { api, failed } = await Promise.race([this.start(), stopped]);
      return await Promise.race([work(api, heard), failed, stopped]);
    } finally {
      running = false;
    }
  }

  /** Load the engine, so that the page can do without a network from here on. Throws ConnectionLost. */
  async prepare(): Promise<void> {
    await this.start();
  }

  private async start(): Promise<NonNullable<Model["worker"]>> {
    if (this.worker) return this.worker;
    const handle = new Worker(new URL("./engine.worker.ts", import.meta.url), { type: "module", name: "engine" });
    const failed = new Promise<never>((_, reject) => {
      handle.onerror = (event) => {
        this.end(null);
        reject(new Error(`The engine stopped: ${event.message || "it could not be loaded, or ran out of memory"}.`));
      };
    });
    failed.catch(() => undefined);
    const api = Comlink.wrap<EngineApi>(handle);
    this.worker = { handle, api, failed };
    const read = async (name: string) => {
      const bytes = await this.store.read(name);
      return Comlink.transfer(bytes, [bytes.buffer]);
    };
    try {
      this.version = await Promise.race([api.open(this.app, this.manifest, this.unit, Comlink.proxy(read)), failed]);
    } catch (error) {
      this.end(null); // half of a worker is of no use to the next call
      throw error;
    }
    return this.worker;
  }

  private end(reason: Error | null): void {
    this.worker?.handle.terminate();
    this.worker = null;
    if (reason) this.stop?.(reason);
  }
}

/** Errors that another engine would meet as well. */
function isForeign(error: unknown): boolean {
  return error instanceof Cancelled || (error instanceof Error && ["ConnectionLost", "PackageError"].includes(error.name));
}

async function fetchText(url: string): Promise<string> {
  let response: Response;
  try {
    response = await fetch(url, { cache: "no-cache" });
  } catch {
    throw new ConnectionLost("The host cannot be reached. Check the connection and try again.");
  }
  if (!response.ok) {
    throw new PackageError(`The host answered ${response.status} for ${url}. Copy the whole package to the host.`);
  }
  return response.text();
}
