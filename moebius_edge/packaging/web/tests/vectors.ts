/** The test vectors of docs/loop.md, and how to compare with them. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import type { Crop } from "../src/loop/crops.js";
import type { EditOptions } from "../src/loop/edit.js";
import type { Mask } from "../src/loop/masks.js";
import type { Box, Filter } from "../src/loop/resize.js";
import type { Schedule, Step } from "../src/loop/schedule.js";

export type Size = [number, number];

/** What one pass of an edit is given. */
export interface Pass {
  crop: Crop;
  picture: string;
  tensor: number[];
  hole: string;
  latent_mask: number[];
}

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
  refines: { coefficients: Step[]; refine: number; start: Schedule["start"]; result: Step[] }[];
  encodes: {
    mean: number[];
    std: number[];
    noise: number[];
    latents: number[];
    sqrt_alpha_bar: number;
    sqrt_one_minus_alpha_bar: number;
    start: number[];
  }[];
  starts: { latent_size: number; hole: string; latents: number[]; result: number[] }[];
  holes: { size: Size; resolution: number; margin: number; feather: number; boxes: Box[]; holes: Box[] }[];
  crops: {
    box: Box;
    size: Size;
    resolution: number;
    margin: number;
    feather: number;
    crop: Crop;
    closer: Crop | null;
  }[];
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
    alpha: string | null;
    mask: string;
    holes: (Pass & { again: Pass | null })[];
    once: string;
    result: string;
  }[];
}

// Beside the sources; `moebius-edge package` puts it there.
export const vectors = JSON.parse(readFileSync("tests/vectors.json", "utf8")) as Vectors;

export const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
export const mask = (size: Size, text: string): Mask => ({ width: size[0], height: size[1], data: bytes(text) });

export function close(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-6): void {
  assert.equal(found.length, expected.length);
  for (let i = 0; i < found.length; i++) {
    const error = Math.abs(found[i]! - expected[i]!);
    assert.ok(error <= tolerance, `element ${i}: found ${found[i]}, expected ${expected[i]}`);
  }
}

/** Every vector of a part; an empty part is an error, not a pass. */
export function each<T>(part: T[], check: (vector: T) => void): void {
  assert.ok(part.length > 0, "the file has no vectors of this part");
  part.forEach(check);
}
