/** The loop around the three graphs: encode, denoise, decode. Steps 9 to 11 of docs/loop.md. */

import { grow, type Mask } from "./masks.js";
import type { Job } from "./edit.js";
import { NotFinite } from "./errors.js";
import { extend } from "./harmonic.js";
import type { Draws } from "./noise.js";
import type { Schedule, Step } from "./schedule.js";

export type Graph = "encoder" | "denoiser" | "decoder";
export const GRAPHS: readonly Graph[] = ["encoder", "denoiser", "decoder"];
export type Tensors = Record<string, Float32Array>;

/** Runs one graph of the bundle: docs/graphs.md has the names and shapes. */
export type Run = (graph: Graph, inputs: Tensors) => Promise<Tensors>;

/** After each run of a graph: how many were run, and how many there are. */
export type OnRun = (done: number, total: number) => void;

export interface LoopOptions {
  schedule: Schedule;
  guidance: number;
  draws: Draws;
  onRun?: OnRun;
  onStep?: (latents: Float32Array) => void; // the latents after each step
}

const GREYED = 1; // latents beside the hole in which the encoder has mixed its grey

/** How many graphs are run: encodes (two if the whole image is one of them), steps, a decode. */
export function graphRuns(schedule: Schedule, whole: boolean): number {
  return (whole ? 2 : 1) + schedule.steps.length + 1;
}

/**
 * Inpaint one job.
 *
 * @returns the decoder's picture [3,R,R] in 0 ... 1
 * @throws NotFinite when numbers stop being finite
 */
export async function inpaint(run: Run, job: Job, options: LoopOptions): Promise<Float32Array> {
  const { schedule, guidance, draws } = options;
  const total = graphRuns(schedule, job.wholeImage !== null);
  let done = 0;
  const counted: Run = async (graph, inputs) => {
    const outputs = await run(graph, inputs);
    options.onRun?.(++done, total);
    return outputs;
  };
  const encode = async (image: Float32Array): Promise<Float32Array> => {
    const { mean, std } = await counted("encoder", { image });
    return finite(sample(mean!, std!, draws.maskedImage), "the encoder's latents"); // both images have the same draws
  };
  const wholeLatents = job.wholeImage && (await encode(job.wholeImage));
  const maskedLatents = await encode(job.maskedImage);
  let latents = startLatents(schedule, draws.latents, wholeLatents ?? continued(maskedLatents, job.latentMask));
  let estimate: Float32Array = new Float32Array(latents.length);
  for (const [index, step] of schedule.steps.entries()) {
    const { noise } = await counted("denoiser", {
      latents,
      mask: job.latentMask,
      masked_latents: maskedLatents,
      timestep: Float32Array.of(step.timestep),
      guidance: Float32Array.of(guidance),
    });
    const moved = update(step, latents, noise!, estimate);
    latents = finite(moved.latents, `the latents after step ${index + 1}`);
    estimate = moved.estimate;
    options.onStep?.(latents);
  }
  const { image } = await counted("decoder", { latents });
  return finite(image!, "the decoder's picture");
}

/** A sample of the latent posterior in 32-bit floats: mean + std * draw. */
export function sample(mean: Float32Array, std: Float32Array, draw: Float32Array): Float32Array {
  return mean.map((value, i) => value + Math.fround(std[i]! * draw[i]!));
}

/**
 * What is around a hole, continued into it: in the hole, grown by `GREYED`, the harmonic function of the latents at
 * its rim. Where that leaves nothing around it, the latents stay as they are.
 *
 * @param latents [4,h,w], of the masked picture
 * @param latentMask [h,w], 1 in the hole
 */
export function continued(latents: Float32Array, latentMask: Float32Array): Float32Array {
  const side = Math.sqrt(latentMask.length);
  const mask: Mask = { width: side, height: side, data: Uint8Array.from(latentMask) };
  const hole = grow(mask, GREYED);
  if (!hole.data.includes(0)) return latents;
  const result = latents.slice();
  for (let start = 0; start < latents.length; start += mask.data.length) {
    const data = Float64Array.from(latents.subarray(start, start + mask.data.length));
    extend({ ...hole, data }, hole);
    result.set(data, start);
  }
  return result;
}

/** Where the loop starts: these latents under noise; at strength 1 noise alone. */
export function startLatents(schedule: Schedule, noise: Float32Array, under: Float32Array): Float32Array {
  return weighted(schedule.start.sqrt_one_minus_alpha_bar, noise, schedule.start.sqrt_alpha_bar, under);
}

/**
 * One row of a solver's table: (a * latents + b * noise) + c * estimate, and the next estimate of the clean latents,
 * p * latents + q * noise. Every product and sum is a 32-bit float; step 10 of docs/loop.md.
 */
export function update(
  step: Step,
  latents: Float32Array,
  noise: Float32Array,
  estimate: Float32Array,
): { latents: Float32Array; estimate: Float32Array } {
  let moved = weighted(step.a, latents, step.b, noise);
  const c = Math.fround(step.c);
  // Adding 0 would change no number, but the sign of a zero.
  if (c !== 0) moved = moved.map((value, i) => value + Math.fround(c * estimate[i]!));
  const forgets = step.p === 0 && step.q === 0;
  return {
    latents: moved,
    estimate: forgets ? new Float32Array(latents.length) : weighted(step.p, latents, step.q, noise),
  };
}

/** a x + b y in 32-bit floats. */
function weighted(a: number, x: Float32Array, b: number, y: Float32Array): Float32Array {
  const [ofX, ofY] = [Math.fround(a), Math.fround(b)];
  return x.map((value, i) => Math.fround(ofX * value) + Math.fround(ofY * y[i]!));
}

function finite(values: Float32Array, what: string): Float32Array {
  if (!values.every(Number.isFinite)) {
    throw new NotFinite(`${what} contain NaN or Inf; use a moderate guidance, or another engine.`);
  }
  return values;
}
