/** DDIM (Song et al., arXiv 2010.02502), eta = 0: which timesteps to visit and what each does. Step 8 of docs/loop.md. */

import { InvalidInput } from "./errors.js";
import type { NoiseSchedule, Schedule, Step } from "./schedule.js";

/**
 * The schedule of an edit, in 64-bit numbers.
 *
 * @param steps whole, 1 to train_timesteps; floor(steps * strength) of them are run
 * @param strength above 0, at most 1: how much noise the loop starts with
 * @throws InvalidInput when either is out of range or nothing is left to run
 */
export function ddim(config: NoiseSchedule, steps: number, strength: number): Schedule {
  const limit = config.train_timesteps;
  if (!Number.isInteger(steps) || steps < 1 || steps > limit) {
    throw new InvalidInput(`Steps is ${steps}; expected a whole number from 1 to ${limit}.`);
  }
  if (!(strength > 0 && strength <= 1)) {
    throw new InvalidInput(`Strength is ${strength}; expected a number above 0 and at most 1.`);
  }
  const run = Math.floor(steps * strength);
  if (run === 0) {
    throw new InvalidInput(`${steps} steps at strength ${strength} leave none to run; use more steps.`);
  }
  const alphaBar = cumulativeAlpha(config);
  const ratio = Math.floor(limit / steps);
  const list: Step[] = [];
  for (let i = run - 1; i >= 0; i--) {
    const timestep = i * ratio;
    const alpha = alphaBar[timestep]!;
    const previous = timestep < ratio ? 1 : alphaBar[timestep - ratio]!;
    const a = Math.sqrt(previous / alpha);
    const b = Math.sqrt(1 - previous) - a * Math.sqrt(1 - alpha);
    list.push({ timestep, a, b, c: 0, p: 0, q: 0 });
  }
  const first = list[0]!.timestep;
  const alpha = strength === 1 ? 0 : alphaBar[first]!;
  return {
    start: { timestep: first, sqrt_alpha_bar: Math.sqrt(alpha), sqrt_one_minus_alpha_bar: Math.sqrt(1 - alpha) },
    steps: list,
  };
}

/** Product over s <= t of (1 - beta_s), for each training step t; the square root of beta is linear in t. */
export function cumulativeAlpha(config: NoiseSchedule): Float64Array {
  const low = Math.sqrt(config.beta_start);
  const slope = (Math.sqrt(config.beta_end) - low) / Math.max(config.train_timesteps - 1, 1);
  const result = new Float64Array(config.train_timesteps);
  let product = 1;
  for (let t = 0; t < result.length; t++) {
    const root = low + t * slope;
    product *= 1 - root * root;
    result[t] = product;
  }
  return result;
}
