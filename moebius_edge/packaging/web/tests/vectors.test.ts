/** The loop against the test vectors of docs/loop.md, in node: `npm test`. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { chooseCrop, featheredRows, grow, type Mask } from "../src/loop/crops.js";
import { ddim } from "../src/loop/ddim.js";
import { Edit, type EditOptions } from "../src/loop/edit.js";
import { correction } from "../src/loop/harmonic.js";
import { sample, startLatents, update } from "../src/loop/loop.js";
import { drawNoise, normal } from "../src/loop/noise.js";
import { philox4x32 } from "../src/loop/philox.js";
import { type Box, type Filter, resize, rowsOf } from "../src/loop/resize.js";
import { makeSchedule, type Schedule, type Step } from "../src/loop/schedule.js";

type Size = [number, number];

interface Vectors {
  format: string;
  philox: { seed: string; stream: number; block: number; words: number[]; numbers: number[] }[];
  draws: {
    seed: string;
    latent_size: number;
    noise_offset: number;
    masked_image: number[];
    latents: number[];
  }[];
  schedules: { steps: number; strength: number; start: Schedule["start"]; coefficients: Step[] }[];
  updates: { coefficients: Step[]; latents: number[]; noise: number[]; result: number[] }[];
  encodes: {
    mean: number[];
    std: number[];
    noise: number[];
    latents: number[];
    sqrt_alpha_bar: number;
    sqrt_one_minus_alpha_bar: number;
    start: number[];
  }[];
  crops: { box: Box; size: Size; resolution: number; margin: number; feather: number; crop: object }[];
  grows: { size: Size; mask: string; radius: number; grown: string }[];
  feathers: { size: Size; mask: string; feather: number; opacity: number[] }[];
  resizes: { size: Size; to: Size; filter: Filter; channels: number; pixels: string; result: string }[];
  corrections: { side: number; surround: string; fill: string; hole: string; correction: number[] }[];
  edits: {
    size: Size;
    resolution: number;
    latent_size: number;
    options: EditOptions;
    photo: string;
    mask: string;
    crop: object;
    picture: string;
    tensor: number[];
    hole: string;
    latent_mask: number[];
    result: string;
  }[];
}

// Beside the sources; `moebius-edge package` puts it there.
const vectors = JSON.parse(readFileSync("tests/vectors.json", "utf8")) as Vectors;
const PUBLISHED = { beta_start: 0.00085, beta_end: 0.012, train_timesteps: 1000 };

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
const mask = (size: Size, text: string): Mask => ({ width: size[0], height: size[1], data: bytes(text) });

function close(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-6): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    const error = Math.abs(found[i]! - expected[i]!);
    assert.ok(error <= tolerance, `element ${i}: found ${found[i]}, expected ${expected[i]}`);
  }
}

/** Every vector of a part; an empty part is an error, not a pass. */
function each<T>(part: T[], check: (vector: T) => void): void {
  assert.ok(part.length > 0, "the file has no vectors of this part");
  part.forEach(check);
}

test("format", () => {
  assert.equal(vectors.format, "moebius-edge-vectors-2");
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
    const found = ddim(PUBLISHED, steps, strength);
    assert.deepEqual(
      found.steps.map((step) => step.timestep),
      coefficients.map((step) => step.timestep),
    );
    for (const name of ["a", "b", "c", "p", "q"] as const) {
      close(
        found.steps.map((step) => step[name]),
        coefficients.map((step) => step[name]),
        1e-12,
      );
    }
    assert.equal(found.start.timestep, start.timestep);
    close(Object.values(found.start), Object.values(start), 1e-12);
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

test("crops", () => {
  each(vectors.crops, ({ box, size, crop, ...options }) => {
    assert.deepEqual(chooseCrop(box, ...size, options), crop);
  });
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

test("edits", () => {
  each(vectors.edits, (vector) => {
    const { resolution, size, latent_size: latentSize } = vector;
    const photo = bytes(vector.photo);
    const rows = rowsOf(photo, ...size, 3);
    const edit = Edit.plan(rows, mask(size, vector.mask), { resolution, latentSize }, vector.options);
    assert.deepEqual(edit.crop, vector.crop);
    assert.deepEqual(edit.picture, bytes(vector.picture));
    assert.deepEqual(edit.hole.data, bytes(vector.hole));
    const job = edit.job();
    const tensor = [0, 1, 2].flatMap((channel) => {
      const start = channel * resolution ** 2;
      return [...job.maskedImage.subarray(start, start + 8)];
    });
    const masked = vector.tensor.map((value, i) => (edit.hole.data[i % 8] ? 0 : value));
    close(tensor, masked);
    close(job.latentMask, vector.latent_mask);
    const decoded = new Float32Array(3 * resolution ** 2).map((_, i) => Math.fround((37 * i) % 101) / 100);
    const { box, pixels } = edit.finish(decoded);
    const width = box[2] - box[0];
    for (let y = box[1]; y < box[3]; y++) {
      photo.set(pixels.subarray(3 * width * (y - box[1]), 3 * width * (y - box[1] + 1)), 3 * (y * size[0] + box[0]));
    }
    assert.deepEqual(photo, bytes(vector.result));
  });
});
