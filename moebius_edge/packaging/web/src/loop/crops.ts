/** The square around a hole that the model sees: steps 3 and 13 of docs/loop.md. */

import { InvalidInput } from "./errors.js";
import { clamp, roundHalfEven } from "./numbers.js";
import type { Box } from "./resize.js";

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

export interface SquareOptions {
  resolution: number;
  margin: number; // in units of the larger of hole and resolution
  feather: number;
}

/**
 * The square for a hole with this bounding box in a photo of `width` x `height`: step 3.
 *
 * @throws InvalidInput when its side would exceed `MAX_SIDE` pixels
 */
export function chooseCrop(box: Box, width: number, height: number, options: SquareOptions): Crop {
  const crop = squareAround(box, width, height, options);
  if (crop.side > MAX_SIDE) {
    const [left, top, right, bottom] = box;
    throw new InvalidInput(
      `The mask spans ${Math.max(right - left, bottom - top)} pixels and needs a square of ${crop.side} around it; ` +
        `at most ${MAX_SIDE} are allowed: fill its parts one after another.`,
    );
  }
  return crop;
}

/** What `chooseCrop` chooses, of any side. */
export function squareAround(box: Box, width: number, height: number, options: SquareOptions): Crop {
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
  const closer = squareAround(box, width, height, { resolution, feather, margin: CLOSE });
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

/** The same square so many pixels further to the right and down. */
export function movedCrop({ left, top, side }: Crop, right: number, down: number): Crop {
  return { left: left + right, top: top + down, side };
}
