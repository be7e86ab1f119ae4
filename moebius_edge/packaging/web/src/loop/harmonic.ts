/**
 * What is around a hole, continued into it as a harmonic function: the order of every addition is that of "The
 * harmonic correction" in docs/loop.md. There it is a paste in the gradient domain: the fill takes on the photo's
 * colours along the rim of the hole, by the difference beside it. The loop starts from latents that are continued so.
 */

import { boundingBox, type Mask } from "./masks.js";
import type { Box } from "./resize.js";

const PASSES = 2; // of the 3 x 3 mean along the rim
const CYCLES = 5; // V-cycles at each size
const SWEEPS = 2; // of Jacobi's method before and after each smaller size
const STEP = 0.2; // of a sweep
const BLOCK = 16; // pixels

/** Numbers of one channel, row by row. */
export interface Plane {
  width: number;
  height: number;
  data: Float64Array;
}

/**
 * What to add to `fill` so that it meets `surround` at the rim of `hole`: [R,R,3].
 *
 * @param surround [R,R,3], the photo at this size, 0 to 255, nothing of what is removed in a pixel outside the hole
 * @param fill [3,R,R], 0 to 255
 * @param hole [R,R], not all of it
 */
export function correction(surround: Uint8Array, fill: Float64Array, hole: Mask): Float64Array {
  const { width, height } = hole;
  const area = width * height;
  const known: Plane = { width, height, data: Float64Array.from(hole.data, (value) => 1 - value) };
  const count = windowSum(known);
  const result = new Float64Array(3 * area);
  for (let channel = 0; channel < 3; channel++) {
    let values = plane(width, height);
    for (let i = 0; i < area; i++) {
      values.data[i] = (surround[3 * i + channel]! - fill[channel * area + i]!) * known.data[i]!;
    }
    for (let pass = 0; pass < PASSES; pass++) {
      values = windowSum(values);
      for (let i = 0; i < area; i++) {
        values.data[i] = (values.data[i]! / Math.max(count.data[i]!, 1)) * known.data[i]!;
      }
    }
    extend(values, hole);
    for (let i = 0; i < area; i++) result[3 * i + channel] = values.data[i]!;
  }
  return result;
}

/** Puts the harmonic function of the values around the hole into it. The hole is not all of it. */
export function extend(values: Plane, hole: Mask): void {
  const box = boundingBox(hole);
  if (!box) return;
  const part = blocks(box, values.width, values.height);
  const free = cut({ ...hole, data: Float64Array.from(hole.data) }, part);
  const solution = solve(cut(values, part), free);
  const [left, top] = part;
  for (let y = 0; y < solution.height; y++) {
    const row = solution.data.subarray(y * solution.width, (y + 1) * solution.width);
    values.data.set(row, (top + y) * values.width + left);
  }
}

/** The box with its rim, in whole blocks as far as the picture goes. */
function blocks([left, top, right, bottom]: Box, width: number, height: number): Box {
  const down = (low: number): number => Math.floor(Math.max(low - 1, 0) / BLOCK) * BLOCK;
  const up = (high: number, size: number): number => Math.min(Math.ceil((high + 1) / BLOCK) * BLOCK, size);
  return [down(left), down(top), up(right, width), up(bottom, height)];
}

function cut(whole: Plane, [left, top, right, bottom]: Box): Plane {
  const part = plane(right - left, bottom - top);
  for (let y = top; y < bottom; y++) {
    const row = whole.data.subarray(y * whole.width + left, y * whole.width + right);
    part.data.set(row, (y - top) * part.width);
  }
  return part;
}

function plane(width: number, height: number): Plane {
  return { width, height, data: new Float64Array(width * height) };
}

/** Sums over the 3 x 3 window around each pixel; outside is 0. */
function windowSum({ width, height, data }: Plane): Plane {
  const rows = plane(width, height).data;
  const sums = plane(width, height);
  for (let i = 0; i < data.length; i++) {
    const x = i % width;
    rows[i] = (x > 0 ? data[i - 1]! : 0) + data[i]! + (x < width - 1 ? data[i + 1]! : 0);
  }
  for (let i = 0; i < data.length; i++) {
    sums.data[i] = (i >= width ? rows[i - width]! : 0) + rows[i]! + (i + width < data.length ? rows[i + width]! : 0);
  }
  return sums;
}

/** `values`, harmonic where `free` is 1: starts from the solution at half the size. */
function solve(values: Plane, free: Plane): Plane {
  if (!free.data.includes(1)) return values;
  const { width, height } = free;
  const fixed: Plane = { width, height, data: free.data.map((value) => 1 - value) };
  const count = children(fixed);
  const known: Plane = { width, height, data: values.data.map((value, i) => value * fixed.data[i]!) };
  const coarse = children(known);
  for (let i = 0; i < count.data.length; i++) coarse.data[i] = coarse.data[i]! / Math.max(count.data[i]!, 1);
  const start = enlarged(solve(coarse, { ...count, data: count.data.map((value) => (value === 0 ? 1 : 0)) }), free);
  const x = known;
  for (let i = 0; i < x.data.length; i++) x.data[i] = x.data[i]! + start.data[i]! * free.data[i]!;
  const zero = plane(width, height);
  for (let i = 0; i < CYCLES; i++) cycle(x, zero, free);
  return x;
}

/** Moves `x` nearer to 4 x - (its four neighbours) = `target` where `free` is 1. */
function cycle(x: Plane, target: Plane, free: Plane): void {
  relax(x, target, free);
  const inner = children(free);
  inner.data = inner.data.map((value) => (value === 4 ? 1 : 0));
  if (inner.data.includes(1)) {
    const rest = children(residual(x, target, free));
    for (let i = 0; i < rest.data.length; i++) rest.data[i] = rest.data[i]! * inner.data[i]!;
    const error = plane(rest.width, rest.height);
    cycle(error, rest, inner);
    const change = enlarged(error, free);
    for (let i = 0; i < x.data.length; i++) x.data[i] = x.data[i]! + change.data[i]! * free.data[i]!;
  }
  relax(x, target, free);
}

function relax(x: Plane, target: Plane, free: Plane): void {
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const left = residual(x, target, free).data;
    for (let i = 0; i < left.length; i++) x.data[i] = x.data[i]! + STEP * left[i]!;
  }
}

/** What is missing in each equation; beyond the edges are the edges' values. */
function residual(x: Plane, target: Plane, free: Plane): Plane {
  const { width, height, data } = x;
  const result = plane(width, height);
  for (let row = 0, i = 0; row < height; row++) {
    const above = row > 0 ? width : 0;
    const below = row < height - 1 ? width : 0;
    for (let column = 0; column < width; column++, i++) {
      const vertical = data[i - above]! + data[i + below]!;
      const horizontal = data[column > 0 ? i - 1 : i]! + data[column < width - 1 ? i + 1 : i]!;
      result.data[i] = (target.data[i]! + (vertical + horizontal) - 4 * data[i]!) * free.data[i]!;
    }
  }
  return result;
}

/** Sums of 2 x 2 pixels; what an odd last row or column lacks is 0. */
function children({ width, height, data }: Plane): Plane {
  const sums = plane((width + 1) >> 1, (height + 1) >> 1);
  const at = (x: number, y: number): number => (x < width && y < height ? data[y * width + x]! : 0);
  for (let y = 0, i = 0; y < sums.height; y++) {
    for (let x = 0; x < sums.width; x++, i++) {
      const left = at(2 * x, 2 * y) + at(2 * x, 2 * y + 1);
      sums.data[i] = left + (at(2 * x + 1, 2 * y) + at(2 * x + 1, 2 * y + 1));
    }
  }
  return sums;
}

/** At twice the size, cut to that of `like`: linear between the centres of pixels. */
function enlarged({ width, height, data }: Plane, like: Plane): Plane {
  const tall = plane(width, like.height);
  for (let y = 0, i = 0; y < tall.height; y++) {
    const near = (y >> 1) * width;
    const next = neighbour(y, height) * width;
    for (let x = 0; x < width; x++, i++) tall.data[i] = 0.75 * data[near + x]! + 0.25 * data[next + x]!;
  }
  const result = plane(like.width, like.height);
  for (let y = 0, i = 0; y < result.height; y++) {
    for (let x = 0; x < result.width; x++, i++) {
      const row = y * width;
      result.data[i] = 0.75 * tall.data[row + (x >> 1)]! + 0.25 * tall.data[row + neighbour(x, width)]!;
    }
  }
  return result;
}

/** Of the smaller picture's `size` pixels, the second nearest to pixel `i` of the larger one. */
function neighbour(i: number, size: number): number {
  return i % 2 === 0 ? Math.max((i >> 1) - 1, 0) : Math.min((i >> 1) + 1, size - 1);
}
