/** The loop against the test vectors of docs/loop.md, in node: `npm test`. Whole edits are in edits.test.ts. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { chooseCrop, closerCrop, insideCrop, squareAround } from "../src/loop/crops.js";
import { ddim } from "../src/loop/ddim.js";
import { separate } from "../src/loop/grouping.js";
import { correction } from "../src/loop/harmonic.js";
import { continued, sample, startLatents, update } from "../src/loop/loop.js";
import { grow } from "../src/loop/masks.js";
import { drawNoise, normal } from "../src/loop/noise.js";
import { featheredRows } from "../src/loop/pasting.js";
import { philox4x32 } from "../src/loop/philox.js";
import { type Box, resize, rowsOf } from "../src/loop/resize.js";
import { makeSchedule, refining, type Schedule, type Step } from "../src/loop/schedule.js";
import { bytes, close, each, mask, vectors } from "./vectors.js";

export const PUBLISHED = { beta_start: 0.00085, beta_end: 0.012, train_timesteps: 1000 };

function closeSchedule(found: Schedule, start: Schedule["start"], steps: Step[]): void {
  assert.deepEqual(
    found.steps.map((step) => step.timestep),
    steps.map((step) => step.timestep),
  );
  for (const name of ["a", "b", "c", "p", "q"] as const) {
    close(
      found.steps.map((step) => step[name]),
      steps.map((step) => step[name]),
      1e-12,
    );
  }
  assert.equal(found.start.timestep, start.timestep);
  close(Object.values(found.start), Object.values(start), 1e-12);
}

test("format", () => {
  assert.equal(vectors.format, "moebius-edge-vectors-4");
});

test("philox", () => {
  each(vectors.philox, ({ seed, stream, block, words, numbers }) => {
    const found = new Uint32Array(4);
    const key = [Number(BigInt(seed) & 0xffffffffn), Number(BigInt(seed) >> 32n)] as const;
    philox4x32([block, 0, stream, 0], key, found);
    assert.deepEqual([...found], words);
    close(normal(BigInt(seed), stream, 4 * block + 4).subarray(-4), numbers);
  });
});

test("draws", () => {
  each(vectors.draws, (vector) => {
    const found = drawNoise(BigInt(vector.seed), vector.latent_size, vector.noise_offset);
    close(found.maskedImage, vector.masked_image);
    close(found.latents, vector.latents);
  });
});

test("schedules", () => {
  each(vectors.schedules, ({ steps, strength, start, coefficients }) => {
    closeSchedule(ddim(PUBLISHED, steps, strength), start, coefficients);
  });
});

test("updates", () => {
  each(vectors.updates, ({ coefficients, latents, noise, result }) => {
    const size = latents.length;
    let state: ReturnType<typeof update> = { latents: Float32Array.from(latents), estimate: new Float32Array(size) };
    for (const [row, step] of coefficients.entries()) {
      const predicted = Float32Array.from(noise.slice(row * size, (row + 1) * size));
      state = update(step, state.latents, predicted, state.estimate);
      close(state.latents, result.slice(row * size, (row + 1) * size));
    }
  });
  assert.ok(vectors.updates.some(({ coefficients }) => coefficients.filter(({ c }) => c !== 0).length > 1));
});

test("refines", () => {
  each(vectors.refines, ({ coefficients, refine, start, result }) => {
    // What a schedule starts with does not matter.
    const schedule = { start: vectors.schedules[0]!.start, steps: coefficients };
    closeSchedule(refining(schedule, PUBLISHED, refine)!, start, result);
    assert.equal(refining(schedule, PUBLISHED, 0), null);
  });
  assert.ok(vectors.refines.some(({ coefficients }) => coefficients.some(({ c }) => c !== 0)));
});

test("a listed table", () => {
  const { start, coefficients } = vectors.schedules[0]!;
  const listed = { start, steps: coefficients };
  const scheduler = { ...PUBLISHED, start, coefficients, solver: "of-tomorrow" };
  const defaults = { steps: 20, strength: 0.99 };
  assert.deepEqual(makeSchedule(scheduler, defaults, 20, 0.99), listed);
  for (const [steps, strength] of [[10, 0.99], [20, 1]] as const) {
    assert.throws(() => makeSchedule(scheduler, defaults, steps, strength), {
      message:
        "The model's solver “of-tomorrow” is not known here, only ddim: without it only 20 steps at strength 0.99 " +
        "can be run. Choose these, or use a newer page.",
    });
    const known = makeSchedule({ ...scheduler, solver: "ddim" }, defaults, steps, strength);
    assert.deepEqual(known, ddim(PUBLISHED, steps, strength));
  }
});

test("encodes", () => {
  each(vectors.encodes, (vector) => {
    const [mean, std, noise] = [vector.mean, vector.std, vector.noise].map((values) => Float32Array.from(values));
    const latents = sample(mean!, std!, noise!);
    close(latents, vector.latents);
    const { sqrt_alpha_bar, sqrt_one_minus_alpha_bar } = vector;
    const start = { timestep: 0, sqrt_alpha_bar, sqrt_one_minus_alpha_bar };
    close(startLatents({ start, steps: [] }, noise!, latents), vector.start);
  });
});

test("starts", () => {
  each(vectors.starts, ({ hole, latents, result }) => {
    close(continued(Float32Array.from(latents), Float32Array.from(bytes(hole))), result);
  });
});

test("holes", () => {
  each(vectors.holes, ({ size: [width, height], boxes, holes, ...options }) => {
    const mask = { width, height, data: new Uint8Array(width * height) };
    for (const [left, top, right, bottom] of boxes) {
      for (let y = top; y < bottom; y++) mask.data.fill(1, y * width + left, y * width + right);
    }
    const covered = (box: Box): Box => insideCrop(squareAround(box, width, height, options), width, height);
    assert.deepEqual(separate(mask, options.resolution, covered), holes);
  });
  assert.ok(vectors.holes.some(({ holes }) => holes.length > 1));
});

test("crops", () => {
  each(vectors.crops, ({ box, size, crop, closer, ...options }) => {
    assert.deepEqual(chooseCrop(box, ...size, options), crop);
    assert.deepEqual(closerCrop(crop, box, ...size, options), closer);
  });
  assert.ok(vectors.crops.some(({ closer }) => closer));
});

test("grows", () => {
  each(vectors.grows, (vector) => {
    assert.deepEqual(grow(mask(vector.size, vector.mask), vector.radius).data, bytes(vector.grown));
  });
});

test("feathers", () => {
  each(vectors.feathers, (vector) => {
    const opacity: number[] = []; // a row is valid until the next
    const rows = featheredRows(mask(vector.size, vector.mask), [0, 0, ...vector.size], vector.feather);
    for (const row of rows) opacity.push(...row);
    close(opacity, vector.opacity);
  });
});

test("resizes", () => {
  each(vectors.resizes, ({ size, to, filter, channels, pixels, result }) => {
    const source = rowsOf(bytes(pixels), ...size, channels);
    const whole = resize(source, ...to, filter);
    assert.deepEqual(whole, bytes(result));
    const part = resize(source, ...to, filter, [2, 3, to[0] - 1, to[1] - 4]);
    const width = to[0] - 3;
    const row = whole.subarray((3 * to[0] + 2) * channels, (3 * to[0] + 2 + width) * channels);
    assert.deepEqual(part.subarray(0, width * channels), row);
  });
});

test("corrections", () => {
  each(vectors.corrections, ({ side, ...vector }) => {
    const fill = bytes(vector.fill);
    const area = side * side;
    const planes = Float64Array.from({ length: 3 * area }, (_, i) => fill[3 * (i % area) + Math.floor(i / area)]!);
    const found = correction(bytes(vector.surround), planes, mask([side, side], vector.hole));
    close(found, vector.correction, 1e-4);
  });
});
