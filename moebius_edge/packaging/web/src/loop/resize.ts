/**
 * Pillow's resizing, in its own fixed-point numbers, so that bytes are equal: "Resizing" in docs/loop.md.
 *
 * Pictures are read and written row by row: the square around a large hole in a 48-megapixel photo need not
 * exist as a whole.
 */

import { clamp } from "./numbers.js";

export type Filter = "lanczos" | "box";

/** A picture of interleaved bytes that gives its rows one by one. A row is only valid until the next is asked for. */
export interface Rows {
  width: number;
  height: number;
  channels: number;
  row(y: number): Uint8Array;
}

/** Left, top, right, bottom; right and bottom are outside. */
export type Box = readonly [number, number, number, number];

/** A picture in memory as `Rows`. */
export function rowsOf(pixels: Uint8Array, width: number, height: number, channels: number): Rows {
  const stride = width * channels;
  return { width, height, channels, row: (y) => pixels.subarray(y * stride, (y + 1) * stride) };
}

/** The part of a picture as a picture of its own: a view, nothing is copied. */
export function partRows(picture: Rows, [left, top, right, bottom]: Box): Rows {
  const { channels } = picture;
  const row = (y: number): Uint8Array => picture.row(top + y).subarray(left * channels, right * channels);
  return { width: right - left, height: bottom - top, channels, row };
}

const PRECISION = 22; // bits behind the point
const HALF = 1 << (PRECISION - 1);

/** For each output pixel, the first input pixel and the weights from there on, times 2^22. */
interface Weights {
  first: Int32Array;
  weights: Int32Array[];
}

/**
 * The part `region` of the picture resized to `width` x `height`: [bottom - top, right - left, channels].
 *
 * @param region in pixels of the result; all of it by default
 */
export function resize(source: Rows, width: number, height: number, filter: Filter, region?: Box): Uint8Array {
  const [left, top, right, bottom] = region ?? [0, 0, width, height];
  const across = source.width === width ? null : filterWeights(source.width, width, filter);
  const down = source.height === height ? null : filterWeights(source.height, height, filter);
  const { channels } = source;
  const stride = (right - left) * channels;
  const result = new Uint8Array(stride * (bottom - top));

  const from = down ? down.first[top]! : top;
  const until = down ? down.first[bottom - 1]! + down.weights[bottom - 1]!.length : bottom;
  const middle = new Uint8Array(stride * (until - from));
  for (let y = from; y < until; y++) {
    const row = source.row(y);
    const target = middle.subarray((y - from) * stride, (y - from + 1) * stride);
    if (across) resizeRow(row, target, across, left, channels);
    else target.set(row.subarray(left * channels, right * channels));
  }
  if (!down) return middle;
  for (let y = top; y < bottom; y++) {
    const target = result.subarray((y - top) * stride, (y - top + 1) * stride);
    combineRows(middle, target, (down.first[y]! - from) * stride, down.weights[y]!);
  }
  return result;
}

function resizeRow(row: Uint8Array, target: Uint8Array, across: Weights, left: number, channels: number): void {
  const count = target.length / channels;
  for (let x = 0; x < count; x++) {
    const weights = across.weights[left + x]!;
    const start = across.first[left + x]! * channels;
    for (let channel = 0; channel < channels; channel++) {
      let sum = HALF;
      for (let j = 0; j < weights.length; j++) sum += weights[j]! * row[start + j * channels + channel]!;
      target[x * channels + channel] = toByte(sum);
    }
  }
}

/** One output row: the weighted sum of the rows of `middle` from `offset` on. */
function combineRows(middle: Uint8Array, target: Uint8Array, offset: number, weights: Int32Array): void {
  const stride = target.length;
  for (let i = 0; i < stride; i++) {
    let sum = HALF;
    for (let j = 0; j < weights.length; j++) sum += weights[j]! * middle[offset + j * stride + i]!;
    target[i] = toByte(sum);
  }
}

function toByte(sum: number): number {
  return clamp(sum >> PRECISION, 0, 255);
}

function filterWeights(from: number, to: number, filter: Filter): Weights {
  const scale = from / to;
  const width = Math.max(scale, 1);
  const support = (filter === "lanczos" ? 3 : 0.5) * width;
  const value = filter === "lanczos" ? lanczos : box;
  const first = new Int32Array(to);
  const weights: Int32Array[] = [];
  for (let x = 0; x < to; x++) {
    const centre = (x + 0.5) * scale;
    const start = Math.max(Math.trunc(centre - support + 0.5), 0);
    const end = Math.min(Math.trunc(centre + support + 0.5), from);
    const exact = new Float64Array(end - start);
    let sum = 0;
    for (let j = 0; j < exact.length; j++) {
      exact[j] = value((j + start - centre + 0.5) / width);
      sum += exact[j]!;
    }
    first[x] = start;
    weights.push(Int32Array.from(exact, (weight) => fixedPoint(sum === 0 ? weight : weight / sum)));
  }
  return { first, weights };
}

function fixedPoint(weight: number): number {
  return Math.trunc(weight * 2 ** PRECISION + (weight < 0 ? -0.5 : 0.5));
}

function box(value: number): number {
  return value > -0.5 && value <= 0.5 ? 1 : 0;
}

function lanczos(value: number): number {
  return value >= -3 && value < 3 ? sinc(value) * sinc(value / 3) : 0;
}

function sinc(value: number): number {
  return value === 0 ? 1 : Math.sin(value * Math.PI) / (value * Math.PI);
}
