/** The panel "About this build": what the model is, and what the self-test found. */

import type { Model, Proof } from "../model.js";
import { element, megabytes } from "./elements.js";

const PARTS = [
  ["encoder_db", "Encoder"],
  ["denoiser_db", "Denoiser, worst step"],
  ["decoder_db", "Decoder"],
  ["hole_db", "Finished picture, in the hole"],
] as const;

/** Fill the panel. `proof` null: not tested yet. `onTest` is for the button. */
export function showAbout(model: Model, proof: Proof | null, onTest: () => void): void {
  const body = element("about-body");
  const { app, manifest } = model;
  const lead = paragraph(
    proof
      ? "On the first visit the page replays what the FP32 reference computed, and compares. 20 dB more is ten times closer."
      : "The self-test has not run in this browser yet.",
  );
  const facts = table(
    "facts",
    [
      ["Model", `${app.model}, ${(manifest.model.parameters / 1e6).toFixed(1)} M parameters`],
      ["Licence of the weights", app.license],
      ["Precision", app.precision.toUpperCase()],
      ["Works at", `${manifest.resolution} x ${manifest.resolution} pixels around the hole`],
      ["Size of the model", megabytes(app.download_bytes)],
      ["Engine", model.engine + (proof?.version ? `, onnxruntime-web ${proof.version}` : "")],
      ["Package", app.files_sha256.slice(0, 16)],
    ].map((row) => row.map((text) => cell(text))),
  );
  const again = document.createElement("button");
  again.type = "button";
  again.id = "test-again";
  again.textContent = "Test again";
  again.addEventListener("click", onTest);
  const measure = document.createElement("a");
  measure.href = "?profile=1";
  measure.textContent = "Measure this device";
  const actions = document.createElement("p");
  actions.className = "actions";
  actions.append(again, measure);
  body.replaceChildren(lead, ...(proof ? [resultTable(model, proof)] : []), facts, actions);
  showBadge(proof);
}

function showBadge(proof: Proof | null): void {
  const badge = element("badge");
  badge.className = `badge ${proof ? (proof.result.ok ? "good" : "bad") : ""}`;
  badge.textContent = proof ? (proof.result.ok ? "Self-test passed" : "Self-test failed") : "Not checked here yet";
}

function resultTable(model: Model, { result }: Proof): HTMLTableElement {
  const rows = PARTS.map(([name, label]) => {
    const value = result[name];
    const threshold = model.app.thresholds[name];
    const ok = value !== null && value >= threshold;
    const mark = cell(ok ? "✓" : "✗", ok ? "good" : "bad");
    mark.setAttribute("aria-label", ok ? "passed" : "failed");
    return [cell(label), cell(value === null ? "not finite" : `${value.toFixed(1)} dB`, "number"), cell(`${threshold} dB`, "number"), mark];
  });
  const made = table("proof", rows);
  const head = made.createTHead().insertRow();
  for (const text of ["Against the reference", "Here", "Needed", ""]) {
    const column = document.createElement("th");
    column.scope = "col";
    column.textContent = text;
    head.append(column);
  }
  return made;
}

function table(kind: string, rows: HTMLTableCellElement[][]): HTMLTableElement {
  const made = document.createElement("table");
  made.className = kind;
  const body = made.createTBody();
  for (const row of rows) body.insertRow().append(...row);
  return made;
}

function cell(text: string, kind = ""): HTMLTableCellElement {
  const made = document.createElement("td");
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function paragraph(text: string): HTMLParagraphElement {
  const made = document.createElement("p");
  made.textContent = text;
  return made;
}
