/** Which graphs the passes of an edit run, with what, and how they are counted: graphs that only take notes. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Job } from "../src/loop/edit.js";
import { type Graph, inpaint, type Run, type Tensors } from "../src/loop/loop.js";
import { type HoleJobs, type RunPass, runPasses } from "../src/loop/passes.js";
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

interface Notes {
  calls: Call[];
  counts: string[]; // what was said of progress
  asked: string[]; // of the photo's side
  error: string;
}

const job = (wholeImage: Float32Array | null): Job => {
  const latentMask = new Float32Array(SIDE ** 2);
  latentMask[HOLE] = 1;
  return { maskedImage: Float32Array.of(-0.5), latentMask, wholeImage };
};

/** What was run and given, of as many holes as `coarse` says which have a second pass. */
async function run(refine: number, coarse: boolean[] = [true], stopAt = ""): Promise<Notes> {
  const calls: Call[] = [];
  const counts: string[] = [];
  const asked: string[] = [];
  const runPass: RunPass = (job, schedule, onRun) =>
    inpaint(noting(calls), job, { schedule, guidance: 1, draws: DRAWS, onRun });
  const first = makeSchedule(SCHEDULER, DEFAULTS, 4, 0.99);
  const ask = <T>(what: string, answer: T): Promise<T> => {
    asked.push(what);
    return what === stopAt ? Promise.reject(new Error(`stopped: ${what}`)) : Promise.resolve(answer);
  };
  const holes = coarse.map((twice, i): HoleJobs => ({
    job: () => ask(`job ${i}`, job(null)),
    refined: twice ? ([decoded]) => ask(`refine ${i}: ${decoded}`, job(Float32Array.of(1))) : null,
    finish: ([decoded]) => ask(`finish ${i}: ${decoded}`, undefined),
  }));
  const ended = runPasses(runPass, holes, { first, second: refining(first, NOISE, refine) }, (done, total) =>
    counts.push(`${done} of ${total}`),
  );
  const error = await ended.then(() => "", String);
  return { calls, counts, asked, error };
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

const upTo = (total: number): string[] => Array.from({ length: total }, (_, i) => `${i + 1} of ${total}`);

test("a single pass", async () => {
  const { calls, counts, asked } = await run(0);
  assert.deepEqual(of(calls, "encoder", "image"), [-0.5]);
  assert.deepEqual(of(calls, "denoiser", "timestep"), [900, 500, 499, 100]);
  assert.deepEqual(counts, upTo(6));
  assert.deepEqual(asked, ["job 0", "finish 0: 6"]);
  const { latents, masked_latents: masked } = calls[1]!.inputs;
  assertLatents(masked!, 0, 9.5); // -0.5 and the draw, as it is encoded
  assertLatents(latents!, 0.75 * 2, 0.75 * 2); // noise, and what is around the hole in the hole as well
});

test("two passes, with a solver that is not known here", async () => {
  const { calls, counts, asked } = await run(0.5);
  assert.deepEqual(of(calls, "encoder", "image"), [-0.5, 1, -0.5]);
  assert.deepEqual(of(calls, "denoiser", "timestep"), [900, 500, 499, 100, 499, 100]); // 500 is not below a half
  assert.deepEqual(counts, upTo(11));
  assert.deepEqual(asked, ["job 0", "refine 0: 6", "finish 0: 11"]);
  const alpha = Array.from({ length: 500 }, (_, t) => t).reduce((product, t) => {
    const [low, high] = [Math.sqrt(NOISE.beta_start), Math.sqrt(NOISE.beta_end)];
    return product * (1 - (low + (t * (high - low)) / 999) ** 2);
  }, 1);
  const { latents, masked_latents: masked } = calls.filter(({ graph }) => graph === "denoiser")[4]!.inputs;
  assertLatents(masked!, 0, 9.5);
  const start = (whole: number): number => Math.sqrt(1 - alpha) * 2 + Math.sqrt(alpha) * whole;
  assertLatents(latents!, start(1.5), start(9.5)); // noise, and the whole image's latents, what is in the hole too
});

test("several holes are counted as one, each with the passes that it needs", async () => {
  const { calls, counts, asked, error } = await run(0.5, [true, false, true]);
  assert.equal(error, "");
  assert.deepEqual(counts, upTo(11 + 6 + 11));
  assert.equal(calls.length, 28);
  assert.deepEqual(asked, [
    ...["job 0", "refine 0: 6", "finish 0: 11"],
    ...["job 1", "finish 1: 17"],
    ...["job 2", "refine 2: 23", "finish 2: 28"],
  ]);
  assert.deepEqual((await run(0, [true, true])).counts, upTo(12));
});

test("it ends between holes and between passes, and nothing more is run", async () => {
  for (const [stopAt, runs] of [["finish 0: 11", 11], ["job 1", 11], ["refine 1: 17", 17]] as const) {
    const { calls, counts, asked, error } = await run(0.5, [true, true], stopAt);
    assert.equal(error, `Error: stopped: ${stopAt}`);
    assert.equal(asked.at(-1), stopAt);
    assert.equal(calls.length, runs);
    assert.deepEqual(counts, upTo(22).slice(0, runs));
  }
});
