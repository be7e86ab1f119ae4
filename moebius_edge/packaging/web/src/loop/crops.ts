/** Masks, and the square around the hole that the model sees: steps 1 to 3, 12 and 13 of docs/loop.md. */

import { InvalidInput } from "./errors.js";
import { clamp, roundHalfEven } from "./numbers.js";
import type { Box, Rows } from "./resize.js";

/** 1 is to be filled, 0 stays; [height,width] in row-major order. */
export interface Mask {
  width: number;
  height: number;
  data: Uint8Array;
}

/** A square in photo pixels. It may reach over the photo's edges, where the photo is mirrored. */
export interface Crop {
  left: number;
  top: number;
  side: number;
}

export const MAX_SIDE = 16_384;
/** The least context on each side of the hole, in units of the hole: for less the square leaves the photo. */
const TIGHT = 0.5;
const CLOSE = 0.25; // margin of the second pass

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

/**
 * Opacity of the fill, row by row of `part`, each row [right - left] in 0 to 1: exactly 1 in the mask, exactly 0
 * farther than `feather` pixels from it. Mask outside `part` is not looked at. A row is valid until the next.
 */
export function* featheredRows(mask: Mask, part: Box, feather: number): Generator<Float32Array> {
  const blur = Math.floor(feather / 2);
  const hard = grow(cutMask(mask, part), feather - blur);
  const area = (2 * blur + 1) ** 2;
  const opacity = new Float32Array(hard.width);
  for (const counts of windowCounts(hard, [0, 0, hard.width, hard.height], blur, "edge")) {
    for (let x = 0; x < counts.length; x++) opacity[x] = counts[x]! / area;
    yield opacity;
  }
}

/** The part of a mask as a mask of its own. */
export function cutMask(mask: Mask, [left, top, right, bottom]: Box): Mask {
  const width = right - left;
  const part = { width, height: bottom - top, data: new Uint8Array(width * (bottom - top)) };
  for (let y = top; y < bottom; y++) {
    part.data.set(mask.data.subarray(y * mask.width + left, y * mask.width + right), (y - top) * width);
  }
  return part;
}

/**
 * For each row of `box`, the number of set pixels in the square of side 2 radius + 1 around each of its pixels.
 * What lies outside the box counts as empty, or as the box's nearest pixel ("edge").
 */
function* windowCounts(mask: Mask, box: Box, radius: number, outside: "empty" | "edge"): Generator<Int32Array> {
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

interface SquareOptions {
  resolution: number;
  margin: number; // in units of the larger of hole and resolution
  feather: number;
}

/**
 * The square for a hole with this bounding box in a photo of `width` x `height`: step 3.
 *
 * @throws InvalidInput when its side would exceed `MAX_SIDE` pixels
 */
export function chooseCrop(
  box: Box,
  width: number,
  height: number,
  options: SquareOptions,
): Crop {
  const crop = square(box, width, height, options);
  if (crop.side > MAX_SIDE) {
    const [left, top, right, bottom] = box;
    throw new InvalidInput(
      `The mask spans ${Math.max(right - left, bottom - top)} pixels and needs a square of ${crop.side} around it; ` +
        `at most ${MAX_SIDE} are allowed: fill its parts one after another.`,
    );
  }
  return crop;
}

function square(box: Box, width: number, height: number, options: SquareOptions): Crop {
  const [left, top, right, bottom] = box;
  const { resolution, margin, feather } = options;
  const hole = Math.max(right - left, bottom - top);
  const short = Math.min(width, height);
  const long = Math.max(width, height);
  const room = Math.max(roundHalfEven(margin * Math.max(hole, Math.min(resolution, short))), feather);
  let side = Math.max(hole + 2 * room, resolution);
  if (side > short) {
    const least = hole + 2 * Math.max(roundHalfEven(Math.min(margin, TIGHT) * hole), feather);
    side = Math.max(short, Math.min(least, long));
  }
  return { left: place(left, right, side, width), top: place(top, bottom, side, height), side };
}

/**
 * The square of the second pass, tight around the same hole: step 13. null where it is hardly smaller.
 *
 * @param crop the square of the first pass
 */
export function closerCrop(
  crop: Crop,
  box: Box,
  width: number,
  height: number,
  options: { resolution: number; feather: number },
): Crop | null {
  const { resolution, feather } = options;
  const closer = square(box, width, height, { resolution, feather, margin: CLOSE });
  return 5 * closer.side <= 4 * crop.side ? closer : null;
}

function place(low: number, high: number, side: number, length: number): number {
  // Not -floor(...): that is -0 where the square is as long as the photo.
  if (side >= length) return 0 - Math.floor((side - length) / 2);
  return clamp(Math.floor((low + high - side) / 2), 0, length - side);
}

/** The part of the square that lies in a photo of this size. */
export function insideCrop(crop: Crop, width: number, height: number): Box {
  return [
    Math.max(crop.left, 0),
    Math.max(crop.top, 0),
    Math.min(crop.left + crop.side, width),
    Math.min(crop.top + crop.side, height),
  ];
}

/** The square of a picture, row by row, mirrored where it reaches over the picture's edges. */
export function cropRows(picture: Rows, crop: Crop): Rows {
  const { channels } = picture;
  const [left, top, right, bottom] = insideCrop(crop, picture.width, picture.height);
  const columns = Int32Array.from({ length: crop.side }, (_, x) => channels * mirrored(crop.left + x, left, right));
  const line = new Uint8Array(crop.side * channels);
  const row = (y: number): Uint8Array => {
    const source = picture.row(mirrored(crop.top + y, top, bottom));
    if (right - left === crop.side) return source.subarray(left * channels, right * channels);
    for (let x = 0; x < crop.side; x++) {
      for (let channel = 0; channel < channels; channel++) {
        line[x * channels + channel] = source[columns[x]! + channel]!;
      }
    }
    return line;
  };
  return { width: crop.side, height: crop.side, channels, row };
}

/** ... c b a | a b c | c b a ...: where in low ... high - 1 a coordinate outside is found. */
function mirrored(value: number, low: number, high: number): number {
  const length = high - low;
  const phase = (((value - low) % (2 * length)) + 2 * length) % (2 * length);
  return low + (phase < length ? phase : 2 * length - 1 - phase);
}
