/**
 * A solver's table, and where it comes from: the manifest's own, or computed by the solver; and the part of it that
 * goes over a picture once more. Steps 8 and 13 of docs/loop.md.
 */

import { cumulativeAlpha, ddim } from "./ddim.js";
import { InvalidInput } from "./errors.js";

/** The training noise schedule, as in the manifest. */
export interface NoiseSchedule {
  beta_start: number;
  beta_end: number;
  train_timesteps: number;
}

/**
 * One row: with the noise predicted at `timestep`, latents <- a * latents + b * noise + c * estimate, and
 * estimate <- p * latents + q * noise with the latents from before; at first the estimate is 0.
 */
export interface Step {
  timestep: number;
  a: number;
  b: number;
  c: number;
  p: number;
  q: number;
}

/** The loop as numbers. `start`: first x latents of a picture + second x noise. */
export interface Schedule {
  start: { timestep: number; sqrt_alpha_bar: number; sqrt_one_minus_alpha_bar: number };
  steps: Step[];
}

/** The manifest's `scheduler`: the solver's name, and its table for the default steps and strength. */
export interface Scheduler extends NoiseSchedule {
  solver: string;
  start: Schedule["start"];
  coefficients: Step[];
}

/** The solvers that compute a table for any steps and strength. */
const SOLVERS = new Map([["ddim", ddim]]);

/**
 * The schedule of an edit: the listed one for the default steps and strength, else that of the named solver.
 *
 * @throws InvalidInput when either is out of range, and for other than the defaults when the solver is not known
 */
export function makeSchedule(
  scheduler: Scheduler,
  defaults: { steps: number; strength: number },
  steps: number,
  strength: number,
): Schedule {
  if (steps === defaults.steps && strength === defaults.strength) {
    return { start: scheduler.start, steps: scheduler.coefficients };
  }
  const solver = SOLVERS.get(scheduler.solver);
  if (!solver) {
    throw new InvalidInput(
      `The model's solver “${scheduler.solver}” is not known here, only ${[...SOLVERS.keys()].join(", ")}: without it ` +
        `only ${defaults.steps} steps at strength ${defaults.strength} can be run. Choose these, or use a newer page.`,
    );
  }
  return solver(scheduler, steps, strength);
}

/**
 * The part of a schedule that goes over a picture once more: the rows below `strength` (0 to 1) of the training steps.
 * The first of them has no estimate before it, and takes its own for that. null: no row is left.
 */
export function refining(schedule: Schedule, noise: NoiseSchedule, strength: number): Schedule | null {
  const [first, ...rest] = schedule.steps.filter(({ timestep }) => timestep < strength * noise.train_timesteps);
  if (!first) return null;
  const { timestep, a, b, c, p, q } = first;
  const alpha = cumulativeAlpha(noise)[timestep]!;
  return {
    start: { timestep, sqrt_alpha_bar: Math.sqrt(alpha), sqrt_one_minus_alpha_bar: Math.sqrt(1 - alpha) },
    steps: [{ timestep, a: a + c * p, b: b + c * q, c: 0, p, q }, ...rest],
  };
}
