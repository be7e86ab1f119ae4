/** The passes of an edit, hole after hole, counted as one: steps 2 and 13 of docs/loop.md. */

import type { Job } from "./edit.js";
import { graphRuns, type OnRun } from "./loop.js";
import type { Schedule } from "./schedule.js";

/** Runs the loop over one job, as `inpaint` does; `onRun` counts the runs of this pass alone. */
export type RunPass = (job: Job, schedule: Schedule, onRun: OnRun) => Promise<Float32Array>;

/** What the photo's side does for one hole. Pictures are the decoder's, [3,R,R] in 0 ... 1. */
export interface HoleJobs {
  job: () => Promise<Job>; // of the first pass
  refined: ((decoded: Float32Array) => Promise<Job>) | null; // of the second, over the first one's picture; null: none
  finish: (decoded: Float32Array) => Promise<void>; // takes the last picture
}

/** The schedules of both passes; no second one: no hole has a second pass. */
export interface Schedules {
  first: Schedule;
  second: Schedule | null;
}

/** Run the passes of each hole. What a hole's functions throw ends it. */
export async function runPasses(
  runPass: RunPass,
  holes: HoleJobs[],
  { first, second }: Schedules,
  onRun: OnRun,
): Promise<void> {
  const once = graphRuns(first, false);
  const again = second ? graphRuns(second, true) : 0;
  const total = holes.reduce((sum, { refined }) => sum + once + (refined ? again : 0), 0);
  let before = 0;
  const counted = async (job: Job, schedule: Schedule): Promise<Float32Array> => {
    const decoded = await runPass(job, schedule, (done) => onRun(before + done, total));
    before += graphRuns(schedule, job.wholeImage !== null);
    return decoded;
  };
  for (const { job, refined, finish } of holes) {
    let decoded = await counted(await job(), first);
    if (second && refined) decoded = await counted(await refined(decoded), second);
    await finish(decoded);
  }
}
