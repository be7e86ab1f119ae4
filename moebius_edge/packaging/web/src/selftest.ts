/** The capsule, replayed: is what this browser computes what the FP32 reference computed? docs/bundle.md. */

import type { Capsule } from "./bundle/capsule.js";
import type { App, Manifest } from "./bundle/manifest.js";
import type { Mask } from "./loop/masks.js";
import { ddim } from "./loop/ddim.js";
import { DEFAULT_OPTIONS, type Edit, planEdits } from "./loop/edit.js";
import { NotFinite } from "./loop/errors.js";
import { type Graph, inpaint, type Run, type Tensors } from "./loop/loop.js";
import { drawNoise } from "./loop/noise.js";
import { apply } from "./loop/patch.js";
import { rowsOf } from "./loop/resize.js";

/** dB of each part, and whether all are at or above the thresholds of app.json; null: not finite. */
export interface SelfTest {
  encoder_db: number | null;
  denoiser_db: number | null; // its worst step
  decoder_db: number | null;
  hole_db: number | null; // the finished picture in the hole
  ok: boolean;
}

/** This browser computes something else than the reference. */
export class SelfTestFailed extends Error {
  override name = "SelfTestFailed";
}

// The recorded edit: `edit_options` of moebius_edge/checking/capsule.py.
const STEPS = 5;
const STRENGTH = 0.99;
const SEED = 0n;
const NOISE_OFFSET = 0.0357;
const DB_CAP = 200;

/**
 * Run the recorded edit alone, and each graph on the reference's inputs when the edit first needs it, so that
 * every graph is opened once.
 */
export async function selfTest(
  run: Run,
  app: App,
  manifest: Manifest,
  capsule: Capsule,
  onRun: (done: number, total: number) => void,
): Promise<SelfTest> {
  const steps = capsule.integers("loop.timesteps").length;
  const total = 2 * steps + 5; // every step twice; one more encoder and decoder, and three of the edit
  let done = 0;
  const counted: Run = async (graph, inputs) => {
    const outputs = await run(graph, inputs);
    onRun(++done, total);
    return outputs;
  };
  const found = new Map<Graph, number | null>();
  const watched: Run = async (graph, inputs) => {
    if (!found.has(graph)) found.set(graph, await replay(counted, capsule, graph));
    return counted(graph, inputs);
  };
  const hole_db = await freeRun(watched, manifest, capsule);
  const measured = {
    encoder_db: found.get("encoder") ?? null,
    denoiser_db: found.get("denoiser") ?? null,
    decoder_db: found.get("decoder") ?? null,
    hole_db,
  };
  const thresholds = Object.entries(app.thresholds) as [keyof App["thresholds"], number][];
  return { ...measured, ok: thresholds.every(([name, threshold]) => (measured[name] ?? -DB_CAP) >= threshold) };
}

/** The photo and mask that the capsule was recorded with, as an edit. */
export function capsuleEdit(manifest: Manifest, capsule: Capsule): Edit {
  const { resolution, latent_size: latentSize } = manifest;
  const photo = rowsOf(capsule.bytesOf("photo"), resolution, resolution, 3);
  // As recorded: the model's own colours, so that its errors show.
  // Pinned, as the capsule was recorded: new defaults must not change it.
  const options = { ...DEFAULT_OPTIONS, margin: 0.25, feather: 8, blend: "feather", refine: 0 } as const;
  const mask = capsuleMask(resolution, capsule);
  // The photo is as large as the model: all of it is one square, and so there is one hole.
  return planEdits(photo, null, mask, { resolution, latentSize }, options)[0]!;
}

function capsuleMask(resolution: number, capsule: Capsule): Mask {
  const data = capsule.bytesOf("mask").map((value) => (value > 127 ? 1 : 0));
  return { width: resolution, height: resolution, data };
}

/** The worst dB of a graph on the reference's inputs. */
async function replay(run: Run, capsule: Capsule, graph: Graph): Promise<number | null> {
  if (graph === "denoiser") return replaySteps(run, capsule);
  const input = graph === "encoder" ? "image" : "latents";
  const outputs = await run(graph, { [input]: capsule.floats(`${graph}.${input}`) });
  const names = graph === "encoder" ? ["mean", "std"] : ["image"];
  return worst(names.map((name) => decibels(outputs[name]!, capsule.floats(`${graph}.${name}`))));
}

async function replaySteps(run: Run, capsule: Capsule): Promise<number | null> {
  const results: (number | null)[] = [];
  const timesteps = capsule.integers("loop.timesteps");
  const latents = capsule.floats("loop.latents");
  const noise = capsule.floats("loop.noise");
  const size = latents.length / timesteps.length;
  for (const [index, timestep] of timesteps.entries()) {
    const inputs: Tensors = {
      latents: index === 0 ? capsule.floats("loop.start") : latents.slice((index - 1) * size, index * size),
      mask: capsule.floats("loop.mask"),
      masked_latents: capsule.floats("loop.masked_latents"),
      timestep: Float32Array.of(timestep),
      guidance: capsule.floats("loop.guidance"),
    };
    const outputs = await run("denoiser", inputs);
    results.push(decibels(outputs["noise"]!, noise.subarray(index * size, (index + 1) * size)));
  }
  return worst(results);
}

async function freeRun(run: Run, manifest: Manifest, capsule: Capsule): Promise<number | null> {
  const edit = capsuleEdit(manifest, capsule);
  let decoded: Float32Array;
  try {
    decoded = await inpaint(run, edit.job(), {
      schedule: ddim(manifest.scheduler, STEPS, STRENGTH), // whatever the bundle's solver is: so it was recorded
      guidance: capsule.floats("loop.guidance")[0]!,
      draws: drawNoise(SEED, manifest.latent_size, NOISE_OFFSET),
    });
  } catch (error) {
    if (error instanceof NotFinite) return null;
    throw error;
  }
  const { resolution } = manifest;
  const picture = capsule.bytesOf("photo");
  apply(edit.finish(decoded), picture, resolution);
  const { data } = capsuleMask(resolution, capsule);
  const inHole = (values: Uint8Array): Float32Array =>
    Float32Array.from(values.filter((_, i) => data[Math.floor(i / 3)] === 1));
  return decibels(inHole(picture), inHole(capsule.bytesOf("result")), 255);
}

/**
 * 20 log10(peak / root of the mean squared error), -200 to 200; null where `found` is not finite.
 *
 * @param peak the range of the reference by default
 */
export function decibels(found: Float32Array, reference: Float32Array, peak?: number): number | null {
  let squares = 0;
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < reference.length; i++) {
    const error = found[i]! - reference[i]!;
    if (!Number.isFinite(error)) return null;
    squares += error * error;
    low = Math.min(low, reference[i]!);
    high = Math.max(high, reference[i]!);
  }
  const root = Math.sqrt(squares / reference.length);
  const range = peak ?? (high - low || 1);
  return root === 0 ? DB_CAP : Math.max(-DB_CAP, Math.min(20 * Math.log10(range / root), DB_CAP));
}

function worst(values: (number | null)[]): number | null {
  return values.reduce((low, value) => (low === null || value === null ? null : Math.min(low, value)), DB_CAP);
}
