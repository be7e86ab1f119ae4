/** Whole edits but for the denoiser: the vectors of docs/loop.md, what is refused, and what is read of a photo. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_OPTIONS, type Edit, planEdits } from "../src/loop/edit.js";
import type { Mask } from "../src/loop/masks.js";
import { apply, patched } from "../src/loop/patch.js";
import { type Box, type Rows, rowsOf } from "../src/loop/resize.js";
import { bytes, close, each, mask, type Pass, vectors } from "./vectors.js";

const MODEL = { resolution: 64, latentSize: 8 };

/** One pass against its vector. */
function checkPass(edit: Edit, resolution: number, vector: Pass): void {
  assert.deepEqual(edit.crop, vector.crop);
  assert.deepEqual(edit.picture, bytes(vector.picture));
  assert.deepEqual(edit.hole.data, bytes(vector.hole));
  const job = edit.job();
  const rowOf = (image: Float32Array): number[] =>
    [0, 1, 2].flatMap((channel) => [...image.subarray(channel * resolution ** 2, channel * resolution ** 2 + 8)]);
  const masked = vector.tensor.map((value, i) => (edit.hole.data[i % 8] ? 0 : value));
  close(rowOf(job.maskedImage), masked);
  if (job.wholeImage) close(rowOf(job.wholeImage), vector.tensor);
  close(job.latentMask, vector.latent_mask);
}

/** The photo with what the last pass over each hole gives. */
function finished(photo: Rows, edits: Edit[], decoded: Float32Array): Uint8Array {
  const result = patched(photo, edits.map((edit) => edit.finish(decoded)));
  return new Uint8Array(Buffer.concat(Array.from({ length: photo.height }, (_, y) => result.row(y).slice())));
}

const decodedOf = (resolution: number): Float32Array =>
  new Float32Array(3 * resolution ** 2).map((_, i) => Math.fround((37 * i) % 101) / 100);

test("edits", () => {
  each(vectors.edits, ({ resolution, size, latent_size: latentSize, holes, ...vector }) => {
    const photo = rowsOf(bytes(vector.photo), ...size, 3);
    const alpha = vector.alpha === null ? null : rowsOf(bytes(vector.alpha), ...size, 1);
    const edits = planEdits(photo, alpha, mask(size, vector.mask), { resolution, latentSize }, vector.options);
    const decoded = decodedOf(resolution);
    assert.equal(edits.length, holes.length);
    const last = edits.map((edit, i) => {
      const { again, ...first } = holes[i]!;
      checkPass(edit, resolution, first);
      assert.equal(edit.job().wholeImage, null);
      assert.equal(edit.coarse, again !== null);
      if (!again) return edit;
      const second = edit.refined(decoded);
      checkPass(second, resolution, again);
      assert.ok(second.job().wholeImage);
      assert.ok(!second.coarse);
      return second;
    });
    assert.deepEqual(finished(photo, edits, decoded), bytes(vector.once));
    assert.deepEqual(finished(photo, last, decoded), bytes(vector.result));
    assert.deepEqual(photo.row(0), bytes(vector.photo).subarray(0, 3 * size[0])); // the photo stays as it is
  });
  assert.ok(vectors.edits.some(({ holes }) => holes.some(({ again }) => again)));
  assert.ok(vectors.edits.some(({ holes }) => holes.length > 1));
  assert.ok(vectors.edits.some(({ alpha }) => alpha));
});

/** A mask of boxes for a photo of this size. */
function boxed(width: number, height: number, ...boxes: Box[]): Mask {
  const data = new Uint8Array(width * height);
  for (const [left, top, right, bottom] of boxes) {
    for (let y = top; y < bottom; y++) data.fill(1, y * width + left, y * width + right);
  }
  return { width, height, data };
}

/** A picture that is computed where it is read; `read` collects its rows. */
function virtual(width: number, height: number, channels: number, read = new Set<number>()): Rows {
  const row = (y: number): Uint8Array => {
    read.add(y);
    return new Uint8Array(width * channels).map((_, i) => (7 * i + 3 * y) % 256);
  };
  return { width, height, channels, row };
}

test("a hole is filled as if it were alone, and reads its own square", () => {
  const [height, decoded] = [3000, decodedOf(64)];
  const last = (edit: Edit): Edit => (edit.coarse ? edit.refined(decoded) : edit);
  for (const width of [400, 64]) {
    const boxes: Box[] = [[10, 20, 30, 40], [width - 40, 2900, width - 10, 2950]];
    const read = new Set<number>();
    const mask = boxed(width, height, ...boxes);
    const both = planEdits(virtual(width, height, 3, read), null, mask, MODEL, DEFAULT_OPTIONS);
    assert.equal(both.length, 2);
    both.forEach((edit, i) => {
      const photo = virtual(width, height, 3);
      const [alone] = planEdits(photo, null, boxed(width, height, boxes[i]!), MODEL, DEFAULT_OPTIONS);
      assert.deepEqual(edit.crop, alone!.crop);
      assert.deepEqual(last(edit).finish(decoded), last(alone!).finish(decoded));
    });
    assert.ok(both.some(({ coarse }) => coarse));
    assert.ok([...read].every((y) => both.some(({ crop }) => crop.top <= y && y < crop.top + crop.side)));
    assert.ok(read.size < 400, `${read.size} rows of ${height}`);
  }
});

test("what is removed is unknown in squares below three quarters of the model, on the first pass alone", () => {
  const pictureOf = (side: number, under: number): Uint8Array => {
    const pixels = new Uint8Array(3 * side ** 2).map((_, i) => (5 * i) % 256);
    for (let y = 20; y < 26; y++) pixels.fill(under, 3 * (y * side + 20), 3 * (y * side + 26));
    const mask = boxed(side, side, [20, 20, 26, 26]);
    return planEdits(rowsOf(pixels, side, side, 3), null, mask, MODEL, DEFAULT_OPTIONS)[0]!.picture;
  };
  assert.deepEqual(pictureOf(47, 0), pictureOf(47, 255));
  assert.notDeepEqual(pictureOf(48, 0), pictureOf(48, 255));
  const options = { ...DEFAULT_OPTIONS, feather: 0, blend: "feather" } as const;
  const [edit] = planEdits(virtual(30, 100, 3), null, boxed(30, 100, [3, 40, 27, 64]), MODEL, options);
  const [black, white] = [0, 1].map((value) => edit!.refined(new Float32Array(3 * 64 ** 2).fill(value)));
  assert.ok(black!.crop.side < 48);
  assert.notDeepEqual(black!.picture, white!.picture);
});

test("colours under full transparency change nothing, and stay", () => {
  const size = [90, 70] as const;
  const hole: Box = [30, 20, 50, 40];
  const alpha = new Uint8Array(size[0] * size[1]).map((_, i) => (i % size[0] < 35 ? 0 : 128));
  const results = [0, 255].map((under) => {
    const rgb = new Uint8Array(3 * alpha.length).map((_, i) => (alpha[Math.floor(i / 3)] ? (11 * i) % 200 : under));
    const [photo, opacity] = [rowsOf(rgb, ...size, 3), rowsOf(alpha, ...size, 1)];
    const [edit] = planEdits(photo, opacity, boxed(...size, hole), MODEL, DEFAULT_OPTIONS);
    const before = rgb.slice();
    apply(edit!.finish(decodedOf(64)), rgb, size[0]);
    const changed = rgb.some((value, i) => value !== before[i] && alpha[Math.floor(i / 3)]);
    assert.ok(changed);
    rgb.forEach((value, i) => alpha[Math.floor(i / 3)] || assert.equal(value, under));
    return { picture: edit!.picture, seen: rgb.filter((_, i) => alpha[Math.floor(i / 3)]) };
  });
  assert.deepEqual(results[0], results[1]);
});

test("what is refused", () => {
  const [width, height] = [100, 80];
  const alphaOf = (value: (x: number) => number): Rows =>
    rowsOf(new Uint8Array(width * height).map((_, i) => value(i % width)), width, height, 1);
  const plan = (mask: Mask, alpha: Rows | null = null) =>
    planEdits(virtual(width, height, 3), alpha, mask, MODEL, DEFAULT_OPTIONS);
  const hole = boxed(width, height, [20, 20, 40, 40]);
  assert.throws(() => plan(boxed(width, height)), /The mask is empty/);
  assert.throws(() => plan(boxed(width, height, [0, 0, width, height])), /covers the whole photo/);
  assert.throws(() => plan(hole, alphaOf((x) => (x < 40 ? 0 : 9))), /covers only what is fully transparent/);
  assert.equal(plan(hole, alphaOf((x) => (x < 39 ? 0 : 9))).length, 1);
  // In a photo smaller than the model the mask is unknown as well: only what is clear is left around it.
  const clear = alphaOf((x) => (x >= 20 && x < 40 ? 9 : 0));
  const small = { resolution: 256, latentSize: 32 };
  const column = boxed(width, height, [20, 0, 40, height]);
  assert.throws(() => planEdits(virtual(width, height, 3), clear, column, small, DEFAULT_OPTIONS), {
    name: "InvalidInput",
    message:
      "Everything around the mask is fully transparent: nothing is left to fill it from. Mark a part that can be seen.",
  });
});
