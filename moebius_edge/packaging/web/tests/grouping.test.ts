/** Which parts of a mask are one hole, beyond the vectors: cells that touch, squares that overlap, the order. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { separate } from "../src/loop/grouping.js";
import type { Mask } from "../src/loop/masks.js";
import type { Box } from "../src/loop/resize.js";

const RESOLUTION = 16; // cells of 4 pixels

function dotted(width: number, height: number, ...dots: [number, number][]): Mask {
  const data = new Uint8Array(width * height);
  for (const [x, y] of dots) data[y * width + x] = 1;
  return { width, height, data };
}

const itself = (box: Box): Box => box;

test("cells touch at sides and corners, not around the edge", () => {
  const one = (...dots: [number, number][]): void => {
    assert.equal(separate(dotted(12, 8, ...dots), RESOLUTION, itself).length, 1, String(dots));
  };
  one([0, 0], [7, 0]);
  one([0, 0], [0, 7]);
  one([0, 0], [7, 7]);
  one([11, 0], [4, 7]);
  assert.deepEqual(separate(dotted(12, 8, [11, 0], [0, 4]), RESOLUTION, itself), [
    [11, 0, 12, 1],
    [0, 4, 1, 5],
  ]);
});

test("they are joined by a shared pixel, directly or in turn, and are ordered by top, then left", () => {
  const mask = dotted(40, 40, [30, 3], [1, 3], [14, 3], [1, 30], [34, 2]);
  const wide = (pixels: number) => ([left, top, right, bottom]: Box): Box => [left, top, right + pixels, bottom];
  const boxes = separate(mask, RESOLUTION, wide(12)); // the square around 1 ends where 14 begins
  assert.deepEqual(boxes, [
    [30, 2, 35, 4],
    [1, 3, 2, 4],
    [14, 3, 15, 4],
    [1, 30, 2, 31],
  ]);
  assert.deepEqual(separate(mask, RESOLUTION, wide(13)), [
    [30, 2, 35, 4],
    [1, 3, 15, 4],
    [1, 30, 2, 31],
  ]);
  const tall = ([left, top, right, bottom]: Box): Box => [left, top - 2, right + 12, bottom + 2];
  assert.equal(separate(dotted(40, 40, [14, 2], [1, 3]), RESOLUTION, tall).length, 2); // the same, the right one first
  assert.equal(separate(mask, RESOLUTION, wide(16)).length, 2); // 14 reaches 30: and what is joined holds 1
});

test("every set pixel is in a hole, and no squares overlap", () => {
  let state = 7;
  const random = (below: number): number => (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) % below;
  for (let round = 0; round < 50; round++) {
    const dots = Array.from({ length: 1 + random(12) }, (): [number, number] => [random(97), random(61)]);
    const reach = random(20);
    const around = ([left, top, right, bottom]: Box): Box => [left - reach, top - reach, right + reach, bottom + reach];
    const boxes = separate(dotted(97, 61, ...dots), RESOLUTION, around);
    for (const [x, y] of dots) {
      assert.equal(boxes.filter((box) => box[0] <= x && x < box[2] && box[1] <= y && y < box[3]).length, 1);
    }
    const squares = boxes.map(around);
    const apart = (a: Box, b: Box): boolean => a[2] <= b[0] || b[2] <= a[0] || a[3] <= b[1] || b[3] <= a[1];
    assert.ok(squares.every((a, i) => squares.every((b, j) => i === j || apart(a, b))));
  }
});
