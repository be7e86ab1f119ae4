/** Which graphs the passes of an edit run, with what, and how they are counted: graphs that only take notes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Job } from "../src/loop/edit.js";
import { type Graph, inpaint, type Run, type Tensors } from "../src/loop/loop.js";
import { type RunPass, runPasses } from "../src/loop/passes.js";
import { makeSchedule, refining, type Step } from "../src/loop/schedule.js";

const NOISE = { beta_start: 0.00085, beta_end: 0.012, train_timesteps: 1000 };
const SIDE = 8;
const LATENTS = 4 * SIDE ** 2;
const HOLE = 3 * SIDE + 3; // a single latent
const DRAWS = { maskedImage: new Float32Array(LATENTS).fill(0.5), latents: new Float32Array(LATENTS).fill(2) };

/** A table that nobody can compute here: listed in a manifest, of second order. */
const row = (timestep: number): Step => ({ timestep, a: 1, b: 2, c: 3, p: 4, q: 5 });
const SCHEDULER = {
  ...NOISE,
  solver: "of-tomorrow",
  start: { timestep: 900, sqrt_alpha_bar: 0.25, sqrt_one_minus_alpha_bar: 0.75 },
  coefficients: [900, 500, 499, 100].map(row),
};
const DEFAULTS = { steps: 4, strength: 0.99 };

interface Call {
  graph: Graph;
  inputs: Tensors;
}

/** Graphs that note what they are given. An image of the value v has the latents v + draw, but 9 + draw in the hole. */
function noting(calls: Call[]): Run {
  return (graph, inputs) => {
    calls.push({ graph, inputs });
    const latents = new Float32Array(LATENTS);
    const mean = (value: number): Float32Array => latents.map((_, i) => (i % SIDE ** 2 === HOLE ? 9 : value));
    const outputs: Record<Graph, () => Tensors> = {
      encoder: () => ({ mean: mean(inputs["image"]![0]!), std: new Float32Array(LATENTS).fill(1) }),
      denoiser: () => ({ noise: latents }),
      decoder: () => ({ image: Float32Array.of(calls.length) }),
    };
    return Promise.resolve(outputs[graph]());
  };
}

const job = (wholeImage: Float32Array | null): Job => {
  const latentMask = new Float32Array(SIDE ** 2);
  latentMask[HOLE] = 1;
  return { maskedImage: Float32Array.of(-0.5), latentMask, wholeImage };
};

async function run(refine: number): Promise<{ calls: Call[]; counts: string[]; given: number[]; last: Float32Array }> {
  const calls: Call[] = [];
  const counts: string[] = [];
  const given: number[] = [];
  const runPass: RunPass = (job, schedule, onRun) =>
    inpaint(noting(calls), job, { schedule, guidance: 1, draws: DRAWS, onRun });
  const first = makeSchedule(SCHEDULER, DEFAULTS, 4, 0.99);
  const refined = (decoded: Float32Array): Promise<Job> => {
    given.push(...decoded);
    return Promise.resolve(job(Float32Array.of(1)));
  };
  const passes = { job: job(null), first, second: refining(first, NOISE, refine), refined };
  const last = await runPasses(runPass, passes, (done, total) => counts.push(`${done} of ${total}`));
  return { calls, counts, given, last };
}

/** Every latent is `value`, the hole's `inHole`. */
function assertLatents(found: Float32Array, value: number, inHole: number): void {
  assert.equal(found.length, LATENTS);
  found.forEach((each, i) => {
    const expected = i % SIDE ** 2 === HOLE ? inHole : value;
    assert.ok(Math.abs(each - expected) < 1e-6, `element ${i}: found ${each}, expected ${expected}`);
  });
}

const of = (calls: Call[], graph: Graph, name: string): number[] =>
  calls.filter((call) => call.graph === graph).map(({ inputs }) => inputs[name]![0]!);

test("a single pass", async () => {
  const { calls, counts, given, last } = await run(0);
  assert.deepEqual(of(calls, "encoder", "image"), [-0.5]);
  assert.deepEqual(of(calls, "denoiser", "timestep"), [900, 500, 499, 100]);
  assert.deepEqual(counts, [1, 2, 3, 4, 5, 6].map((done) => `${done} of 6`));
  assert.deepEqual(given, []);
  assert.deepEqual(last, Float32Array.of(6));
  const { latents, masked_latents: masked } = calls[1]!.inputs;
  assertLatents(masked!, 0, 9.5); // -0.5 and the draw, as it is encoded
  assertLatents(latents!, 0.75 * 2, 0.75 * 2); // noise, and what is around the hole in the hole as well
});

test("two passes, with a solver that is not known here", async () => {
  const { calls, counts, given, last } = await run(0.5);
  assert.deepEqual(of(calls, "encoder", "image"), [-0.5, 1, -0.5]);
  assert.deepEqual(of(calls, "denoiser", "timestep"), [900, 500, 499, 100, 499, 100]); // 500 is not below a half
  assert.deepEqual(counts, Array.from({ length: 11 }, (_, i) => `${i + 1} of 11`));
  assert.deepEqual(given, [6]);
  assert.deepEqual(last, Float32Array.of(11));
  const alpha = Array.from({ length: 500 }, (_, t) => t).reduce((product, t) => {
    const [low, high] = [Math.sqrt(NOISE.beta_start), Math.sqrt(NOISE.beta_end)];
    return product * (1 - (low + (t * (high - low)) / 999) ** 2);
  }, 1);
  const { latents, masked_latents: masked } = calls.filter(({ graph }) => graph === "denoiser")[4]!.inputs;
  assertLatents(masked!, 0, 9.5);
  const start = (whole: number): number => Math.sqrt(1 - alpha) * 2 + Math.sqrt(alpha) * whole;
  assertLatents(latents!, start(1.5), start(9.5)); // noise, and the whole image's latents, what is in the hole too
});
