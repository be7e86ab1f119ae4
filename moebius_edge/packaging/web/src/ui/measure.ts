/** `?profile=1`: the measurement of docs/devices.md, in the page. */

import type { Model } from "../model.js";
import { type DeviceProfile, PROFILE_DEFAULTS } from "../profile.js";
import { element, offerFile } from "./elements.js";
import type { Status } from "./status.js";

declare global {
  interface Window {
    /** What was measured, for programs that drive the page. */
    moebiusProfile?: DeviceProfile;
  }
}

/** Measure, and offer the JSON. `query` may say `runs` (of each graph) and `edits`. */
export async function measure(model: Model, status: Status, query: URLSearchParams): Promise<void> {
  const number = (name: string, usual: number): number => Math.max(Math.floor(Number(query.get(name))) || usual, 1);
  const options = { runs: number("runs", PROFILE_DEFAULTS.runs), edits: number("edits", PROFILE_DEFAULTS.edits) };
  const profile = await model.profile(options, (done, total) =>
    status.show(`Measuring: ${done} of ${total}`, done / total),
  );
  window.moebiusProfile = profile;
  const text = `${JSON.stringify(profile, null, 2)}\n`;
  const button = document.createElement("button");
  button.type = "button";
  button.id = "save-profile";
  button.textContent = "Save the measurement";
  button.addEventListener("click", () =>
    offerFile(new Blob([text], { type: "application/json" }), "moebius-profile.json"),
  );
  element("about-body").append(button);
  element<HTMLDetailsElement>("about").open = true; // what is to be clicked is to be seen
  status.show("Measured. Save the file from “About this build”, and read it with moebius-edge profile.");
}
