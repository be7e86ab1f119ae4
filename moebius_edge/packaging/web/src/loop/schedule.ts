/** A solver's table, and where it comes from: the manifest's own, or computed by the solver. Step 8 of docs/loop.md. */

import { ddim } from "./ddim.js";
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

/** The loop as numbers. `start`: first x latents of the masked image + second x noise. */
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
