/** The loop around the three graphs: encode, denoise, decode. Steps 9 to 11 of docs/loop.md. */

import type { Job } from "./edit.js";
import { NotFinite } from "./errors.js";
import type { Draws } from "./noise.js";
import type { Schedule, Step } from "./schedule.js";

export type Graph = "encoder" | "denoiser" | "decoder";
export const GRAPHS: readonly Graph[] = ["encoder", "denoiser", "decoder"];
export type Tensors = Record<string, Float32Array>;

/** Runs one graph of the bundle: docs/graphs.md has the names and shapes. */
export type Run = (graph: Graph, inputs: Tensors) => Promise<Tensors>;

export interface LoopOptions {
  schedule: Schedule;
  guidance: number;
  draws: Draws;
  onRun?: (done: number, total: number) => void; // after each run of a graph
  onStep?: (latents: Float32Array) => void; // the latents after each step
}

/**
 * Inpaint one job.
 *
 * @returns the decoder's picture [3,R,R] in 0 ... 1
 * @throws NotFinite when numbers stop being finite
 */
export async function inpaint(run: Run, job: Job, options: LoopOptions): Promise<Float32Array> {
  const { schedule, guidance, draws } = options;
  const total = schedule.steps.length + 2;
  let done = 0;
  const counted: Run = async (graph, inputs) => {
    const outputs = await run(graph, inputs);
    options.onRun?.(++done, total);
    return outputs;
  };
  const posterior = await counted("encoder", { image: job.maskedImage });
  const maskedLatents = finite(
    sample(posterior["mean"]!, posterior["std"]!, draws.maskedImage),
    "the encoder's latents",
  );
  let latents = startLatents(schedule, draws.latents, maskedLatents);
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

/** Where the loop starts: the latents of the masked picture under noise; at strength 1 noise alone. */
export function startLatents(schedule: Schedule, noise: Float32Array, masked: Float32Array): Float32Array {
  return weighted(schedule.start.sqrt_one_minus_alpha_bar, noise, schedule.start.sqrt_alpha_bar, masked);
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
