/** Seeded Gaussian noise that is the same in every language: docs/noise.md. */

import { InvalidInput } from "./errors.js";
import { philox4x32 } from "./philox.js";

/** What the noise is for. The values are part of the specification; 0 is the published mode's, in Python. */
export const STREAM = { maskedImage: 1, latents: 2, offset: 3 } as const;

export const MAX_SEED = 2n ** 64n - 1n;
export const LATENT_CHANNELS = 4;

/** The random numbers of one edit, each [4,h,w] flat. */
export interface Draws {
  maskedImage: Float32Array; // sample of the masked image's posterior
  latents: Float32Array; // starting noise, offset included
}

/** The seed that a text means. Throws InvalidInput unless it is a whole number of 0 to 2^64 - 1. */
export function parseSeed(text: string): bigint {
  const trimmed = text.trim();
  const seed = /^\d{1,20}$/.test(trimmed) ? BigInt(trimmed) : -1n;
  if (seed < 0n || seed > MAX_SEED) {
    throw new InvalidInput(`The seed is “${trimmed}”; expected a whole number from 0 to 2^64 - 1.`);
  }
  return seed;
}

/**
 * Elements 0 ... count - 1 of a stream: standard normal numbers by Box and Muller, 1958.
 *
 * @param seed 0 to 2^64 - 1
 * @param stream one of `STREAM`
 */
export function normal(seed: bigint, stream: number, count: number): Float32Array {
  const key = [Number(seed & 0xffffffffn), Number(seed >> 32n)] as const;
  const words = new Uint32Array(4);
  const blocks = Math.ceil(count / 4);
  const result = new Float32Array(4 * blocks);
  for (let block = 0; block < blocks; block++) {
    philox4x32([block, 0, stream, 0], key, words);
    for (let pair = 0; pair < 4; pair += 2) {
      // (x + 1) / 2^32 is above 0, so that the logarithm is finite.
      const radius = Math.sqrt(-2 * Math.log((words[pair]! + 1) / 2 ** 32));
      const angle = (2 * Math.PI * words[pair + 1]!) / 2 ** 32;
      result[4 * block + pair] = radius * Math.cos(angle);
      result[4 * block + pair + 1] = radius * Math.sin(angle);
    }
  }
  return result.subarray(0, count);
}

/** Step 7 of docs/loop.md. `latentSize` is h = w; `noiseOffset` 0 draws no offset. */
export function drawNoise(seed: bigint, latentSize: number, noiseOffset: number): Draws {
  const plane = latentSize * latentSize;
  const count = LATENT_CHANNELS * plane;
  const latents = normal(seed, STREAM.latents, count);
  if (noiseOffset !== 0) {
    const offset = normal(seed, STREAM.offset, LATENT_CHANNELS);
    const scale = Math.fround(noiseOffset);
    for (let i = 0; i < count; i++) {
      latents[i] = latents[i]! + Math.fround(scale * offset[Math.floor(i / plane)]!);
    }
  }
  return { maskedImage: normal(seed, STREAM.maskedImage, count), latents };
}
