/** The passes of an edit, one after the other and counted as one: step 13 of docs/loop.md. */

import type { Job } from "./edit.js";
import { graphRuns, type OnRun } from "./loop.js";
import type { Schedule } from "./schedule.js";

/** Runs the loop over one job, as `inpaint` does; `onRun` counts the runs of this pass alone. */
export type RunPass = (job: Job, schedule: Schedule, onRun: OnRun) => Promise<Float32Array>;

/** What the first pass works on, and what is known of the second before it. */
export interface Passes {
  job: Job;
  first: Schedule;
  second: Schedule | null; // null: there is no second pass
  refined: (decoded: Float32Array) => Promise<Job>; // the second pass's job, over the first one's picture
}

/**
 * Run an edit's passes.
 *
 * @returns the decoder's last picture [3,R,R] in 0 ... 1
 */
export async function runPasses(runPass: RunPass, passes: Passes, onRun: OnRun): Promise<Float32Array> {
  const { job, first, second, refined } = passes;
  const before = graphRuns(first, false);
  const total = before + (second ? graphRuns(second, true) : 0);
  const decoded = await runPass(job, first, (done) => onRun(done, total));
  if (!second) return decoded;
  return runPass(await refined(decoded), second, (done) => onRun(before + done, total));
}
