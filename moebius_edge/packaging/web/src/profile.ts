/** The measurement of docs/devices.md: how fast the three graphs and whole edits are in this browser. */

import type { Capsule } from "./bundle/capsule.js";
import type { App, Manifest } from "./bundle/manifest.js";
import type { Engine } from "./engine.js";
import { type Graph, GRAPHS, inpaint, type Run, type Tensors } from "./loop/loop.js";
import { drawNoise } from "./loop/noise.js";
import { makeSchedule } from "./loop/schedule.js";
import { capsuleEdit, type SelfTest, selfTest } from "./selftest.js";
import { threadCount } from "./units.js";

export interface DeviceProfile {
  format: "moebius-edge-device-profile-1";
  device: { platform: "web"; model: string; system: string; chip: string };
  engine: { name: "onnxruntime-web"; version: string; unit: string };
  threads: number | null;
  bundle: { model: string; precision: string; files_sha256: string };
  load_ms: Record<string, { cold: number; warm: number }>;
  graphs_ms: Record<string, number[]>;
  edits: { total_ms: number; steps_ms: number[] }[];
  temperature: { after_ms: number; celsius: null; state: null }[]; // browsers do not tell
  peak_memory_bytes: null; // nor this
  selftest: SelfTest;
}

export interface ProfileOptions {
  runs: number; // of each graph
  edits: number;
}

const MAX_TEXT = 200; // characters of a name: docs/devices.md

export const PROFILE_DEFAULTS: ProfileOptions = { runs: 10, edits: 20 };

/** Measure. `onRun(done, total)` counts runs of graphs, roughly. */
export async function profile(
  engine: Engine,
  app: App,
  manifest: Manifest,
  capsule: Capsule,
  options: ProfileOptions,
  onRun: (done: number, total: number) => void,
): Promise<DeviceProfile> {
  const perEdit = manifest.scheduler.coefficients.length + 3;
  const total = GRAPHS.length * (options.runs + 3) + options.edits * perEdit + 13;
  let done = 0;
  const run: Run = async (graph, inputs) => {
    const outputs = await engine.run(graph, inputs);
    onRun(Math.min(++done, total), total);
    return outputs;
  };
  const load_ms: DeviceProfile["load_ms"] = {};
  const graphs_ms: DeviceProfile["graphs_ms"] = {};
  for (const graph of GRAPHS) {
    const inputs = referenceInputs(capsule, graph);
    const cold = await opening(engine, run, graph, inputs);
    const times = [];
    for (let i = 0; i <= options.runs; i++) times.push(await timed(() => run(graph, inputs)));
    graphs_ms[graph] = times.slice(1);
    const warm = await opening(engine, run, graph, inputs);
    const usual = median(graphs_ms[graph]);
    load_ms[graph] = { cold: Math.max(cold - usual, 0), warm: Math.max(warm - usual, 0) };
  }
  const { edits, temperature } = await wholeEdits(run, manifest, capsule, options.edits);
  return {
    format: "moebius-edge-device-profile-1",
    device: await describeDevice(engine.unit),
    engine: { name: "onnxruntime-web", version: engine.version, unit: engine.unit },
    threads: engine.unit === "wasm" ? threadCount() : null,
    bundle: { model: app.model, precision: app.precision, files_sha256: app.files_sha256 },
    load_ms,
    graphs_ms,
    edits,
    temperature,
    peak_memory_bytes: null,
    selftest: await selfTest(run, app, manifest, capsule, () => undefined),
  };
}

async function wholeEdits(
  run: Run,
  manifest: Manifest,
  capsule: Capsule,
  count: number,
): Promise<Pick<DeviceProfile, "edits" | "temperature">> {
  const { defaults, latent_size: latentSize } = manifest;
  const edits: DeviceProfile["edits"] = [];
  const temperature: DeviceProfile["temperature"] = [{ after_ms: 0, celsius: null, state: null }];
  const begin = performance.now();
  for (let i = 0; i < count; i++) {
    const steps_ms: number[] = [];
    const watched: Run = async (graph, inputs) => {
      const start = performance.now();
      const outputs = await run(graph, inputs);
      if (graph === "denoiser") steps_ms.push(performance.now() - start);
      return outputs;
    };
    const total_ms = await timed(async () => {
      const edit = capsuleEdit(manifest, capsule);
      const decoded = await inpaint(watched, edit.job(), {
        schedule: makeSchedule(manifest.scheduler, defaults, defaults.steps, defaults.strength),
        guidance: defaults.guidance,
        draws: drawNoise(0n, latentSize, defaults.noise_offset),
      });
      edit.finish(decoded);
    });
    edits.push({ total_ms, steps_ms });
    temperature.push({ after_ms: performance.now() - begin, celsius: null, state: null });
  }
  return { edits, temperature };
}

/** Open a graph that is closed and run it once: milliseconds. */
async function opening(engine: Engine, run: Run, graph: Graph, inputs: Tensors): Promise<number> {
  await engine.release();
  return timed(() => run(graph, inputs));
}

function referenceInputs(capsule: Capsule, graph: Graph): Tensors {
  if (graph === "encoder") return { image: capsule.floats("encoder.image") };
  if (graph === "decoder") return { latents: capsule.floats("decoder.latents") };
  return {
    latents: capsule.floats("loop.start"),
    mask: capsule.floats("loop.mask"),
    masked_latents: capsule.floats("loop.masked_latents"),
    timestep: Float32Array.of(capsule.integers("loop.timesteps")[0]!),
    guidance: capsule.floats("loop.guidance"),
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

function median(values: number[]): number {
  const sorted = [...values].sort((x, y) => x - y);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
}

async function describeDevice(unit: string): Promise<DeviceProfile["device"]> {
  const adapter = unit === "webgpu" ? await navigator.gpu?.requestAdapter() : null;
  const chip = adapter ? `${adapter.info.vendor} ${adapter.info.architecture}`.trim().slice(0, MAX_TEXT) : "";
  const agent = navigator.userAgent;
  const browser = /(Firefox|Edg|OPR|Chrome|Version)\/[\d.]+/.exec(agent)?.[0] ?? "browser";
  const system = /\(([^)]+)\)/.exec(agent)?.[1]?.slice(0, MAX_TEXT) || "unknown";
  return { platform: "web", model: browser.replace("Version", "Safari"), system, chip };
}
