/** Masks: their boxes and parts, how they grow (step 1 of docs/loop.md), and counts around a pixel. */

import { clamp } from "./numbers.js";
import type { Box } from "./resize.js";

/** 1 is to be filled, 0 stays; [height,width] in row-major order. */
export interface Mask {
  width: number;
  height: number;
  data: Uint8Array;
}

/** The smallest box with every set pixel; null for an empty mask. */
export function boundingBox(mask: Mask): Box | null {
  const { width, height, data } = mask;
  const first = data.indexOf(1);
  if (first < 0) return null;
  const top = Math.floor(first / width);
  const bottom = Math.floor(data.lastIndexOf(1) / width) + 1;
  let left = width;
  let right = 0;
  for (let y = top; y < Math.min(bottom, height); y++) {
    const row = data.subarray(y * width, (y + 1) * width);
    const low = row.indexOf(1);
    if (low < 0) continue;
    left = Math.min(left, low);
    right = Math.max(right, row.lastIndexOf(1) + 1);
  }
  return [left, top, right, bottom];
}

/** The box with `pixels` more on each side, as far as it lies in `within`. */
export function grownBox(box: Box, pixels: number, within: Box): Box {
  return [
    Math.max(box[0] - pixels, within[0]),
    Math.max(box[1] - pixels, within[1]),
    Math.min(box[2] + pixels, within[2]),
    Math.min(box[3] + pixels, within[3]),
  ];
}

/** Dilate by a square of side 2 radius + 1 pixels: step 1. The mask itself is returned where nothing changes. */
export function grow(mask: Mask, radius: number): Mask {
  const box = boundingBox(mask);
  if (radius === 0 || !box) return mask;
  const { width, height } = mask;
  const grown = { width, height, data: mask.data.slice() };
  const part = grownBox(box, radius, [0, 0, width, height]);
  let y = part[1];
  for (const counts of windowCounts(mask, part, radius, "empty")) {
    const start = y++ * width + part[0];
    for (let x = 0; x < counts.length; x++) if (counts[x]! > 0) grown.data[start + x] = 1;
  }
  return grown;
}

/** The part of a mask as a mask of its own; one as wide as the mask shares its memory. */
export function cutMask(mask: Mask, [left, top, right, bottom]: Box): Mask {
  const [width, height] = [right - left, bottom - top];
  if (width === mask.width) return { width, height, data: mask.data.subarray(top * width, bottom * width) };
  const part = { width, height, data: new Uint8Array(width * height) };
  for (let y = top; y < bottom; y++) {
    part.data.set(mask.data.subarray(y * mask.width + left, y * mask.width + right), (y - top) * width);
  }
  return part;
}

/**
 * For each row of `box`, the number of set pixels in the square of side 2 radius + 1 around each of its pixels.
 * What lies outside the box counts as empty, or as the box's nearest pixel ("edge").
 */
export function* windowCounts(
  mask: Mask,
  box: Box,
  radius: number,
  outside: "empty" | "edge",
): Generator<Int32Array> {
  const [left, top, right, bottom] = box;
  const width = right - left;
  const total = new Int32Array(width);
  const line = new Int32Array(width);
  const addRow = (y: number, sign: number): void => {
    if (outside === "empty" && (y < top || y >= bottom)) return;
    const start = clamp(y, top, bottom - 1) * mask.width + left;
    rowCounts(mask.data.subarray(start, start + width), radius, outside, line);
    for (let x = 0; x < width; x++) total[x] = total[x]! + sign * line[x]!;
  };
  for (let y = top - radius; y < top + radius; y++) addRow(y, 1);
  for (let y = top; y < bottom; y++) {
    addRow(y + radius, 1);
    yield total;
    addRow(y - radius, -1);
  }
}

function rowCounts(row: Uint8Array, radius: number, outside: "empty" | "edge", counts: Int32Array): void {
  const last = row.length - 1;
  const at = (x: number): number => {
    if (x >= 0 && x <= last) return row[x]!;
    return outside === "empty" ? 0 : row[x < 0 ? 0 : last]!;
  };
  let sum = 0;
  for (let x = -radius; x < radius; x++) sum += at(x);
  for (let x = 0; x <= last; x++) {
    sum += at(x + radius);
    counts[x] = sum;
    sum -= at(x - radius);
  }
}
