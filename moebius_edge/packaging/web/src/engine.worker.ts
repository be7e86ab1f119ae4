/** The worker that computes: it holds the engine and nothing else, so that it can be ended at any time. */

import * as Comlink from "comlink";
import { Capsule } from "./bundle/capsule.js";
import type { App, Manifest } from "./bundle/manifest.js";
import { Engine, type ReadFile } from "./engine.js";
import type { Job } from "./loop/edit.js";
import { inpaint, type OnRun } from "./loop/loop.js";
import { drawNoise } from "./loop/noise.js";
import type { Schedule } from "./loop/schedule.js";
import { type DeviceProfile, profile, type ProfileOptions } from "./profile.js";
import { type SelfTest, selfTest } from "./selftest.js";
import type { Unit } from "./units.js";

export interface RunSettings {
  schedule: Schedule;
  seed: bigint;
  guidance: number;
}

let engine: Engine | null = null;
let bundle: { app: App; manifest: Manifest; read: ReadFile } | null = null;

function opened(): { engine: Engine; app: App; manifest: Manifest; read: ReadFile } {
  if (!engine || !bundle) throw new Error("`open` comes first");
  return { engine, ...bundle };
}

async function readCapsule(): Promise<Capsule> {
  const { manifest, read } = opened();
  return new Capsule(await read(manifest.capsule));
}

const api = {
  /** Load the engine for a unit. `read` gives the files of the bundle. Returns onnxruntime-web's version. */
  async open(app: App, manifest: Manifest, unit: Unit, read: ReadFile): Promise<string> {
    bundle = { app, manifest, read };
    engine = await Engine.open(manifest, read, unit);
    return engine.version;
  },

  /** Inpaint one job: the decoder's picture [3,R,R] in 0 ... 1. */
  async run(job: Job, settings: RunSettings, onRun: OnRun): Promise<Float32Array> {
    const { engine, manifest } = opened();
    const { schedule, seed, guidance } = settings;
    const { defaults, latent_size: latentSize } = manifest;
    const draws = drawNoise(seed, latentSize, defaults.noise_offset);
    const options = { schedule, guidance, draws, onRun };
    const decoded = await inpaint((graph, inputs) => engine.run(graph, inputs), job, options);
    await engine.release();
    return Comlink.transfer(decoded, [decoded.buffer]);
  },

  async selfTest(onRun: OnRun): Promise<SelfTest> {
    const { engine, app, manifest } = opened();
    const result = await selfTest((graph, inputs) => engine.run(graph, inputs), app, manifest, await readCapsule(), onRun);
    await engine.release();
    return result;
  },

  async profile(options: ProfileOptions, onRun: OnRun): Promise<DeviceProfile> {
    const { engine, app, manifest } = opened();
    const result = await profile(engine, app, manifest, await readCapsule(), options, onRun);
    await engine.release();
    return result;
  },
};

export type EngineApi = typeof api;
Comlink.expose(api);
