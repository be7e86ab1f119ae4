/** What is in the package: app.json (docs/devices.md) and the bundle's manifest.json (docs/bundle.md). */

import { type Graph, GRAPHS } from "../loop/loop.js";
import type { Scheduler, Step } from "../loop/schedule.js";
import { sha256 } from "./hash.js";

export interface App {
  format: string;
  model: string;
  license: string;
  precision: string;
  files_sha256: string;
  model_folder: string;
  download_bytes: number;
  thresholds: { encoder_db: number; denoiser_db: number; decoder_db: number; hole_db: number };
}

export interface FileEntry {
  size: number; // bytes
  sha256: string;
}

// docs/bundle.md: segments without dots at the front, so neither an address nor a way out of the folder.
const FILE_NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]*(\/[A-Za-z0-9_][A-Za-z0-9._-]*)*$/;
const MAX_FILE_BYTES = 0x7fe00000; // the largest array of Chrome
const IDENTIFIER = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
const SCHEMA_VERSION = 3;
const MAX_RESOLUTION = 8192; // pixels
const MAX_TRAIN_TIMESTEPS = 10_000;

interface TensorSpec {
  name: string;
  dtype: string;
  shape: number[];
}

export interface Manifest {
  format: string;
  schema_version: number;
  manifest_sha256: string;
  model: { name: string; license: string; source: string; parameters: number };
  precision: string;
  resolution: number;
  latent_size: number;
  graphs: Record<Graph, { file: string; inputs: TensorSpec[]; outputs: TensorSpec[] }>;
  scheduler: Scheduler & { beta_schedule: string; prediction: string };
  defaults: { steps: number; guidance: number; strength: number; noise_offset: number };
  capsule: string;
  files: Record<string, FileEntry>;
}

/** The package on the host is damaged, half of an older one, or not for this page. */
export class PackageError extends Error {
  override name = "PackageError";
}

/** Both descriptions, checked against each other. `fetchText` reads a file of the package. */
export async function readPackage(
  fetchText: (path: string) => Promise<string>,
): Promise<{ app: App; manifest: Manifest }> {
  const app = parse<App>(await fetchText("app.json"), "app.json", "moebius-edge-app-1");
  const text = await fetchText(`${app.model_folder}/manifest.json`);
  const manifest = parse<Manifest>(text, "manifest.json", "moebius-edge-bundle");
  if (manifest.schema_version !== SCHEMA_VERSION) {
    throw new PackageError(
      `The bundle has schema version ${manifest.schema_version}; this page knows version ${SCHEMA_VERSION}. ` +
        "Build the page again.",
    );
  }
  const blank = text.replace(manifest.manifest_sha256, "0".repeat(64));
  if ((await sha256(new TextEncoder().encode(blank))) !== manifest.manifest_sha256) {
    throw new PackageError("manifest.json is damaged: its checksum differs. Copy the package to the host again.");
  }
  if ((await fingerprint(manifest)) !== app.files_sha256) {
    throw new PackageError(
      "app.json and the model's manifest.json are of different packages. Copy the whole package to the host again.",
    );
  }
  try {
    check(app, manifest);
  } catch (error) {
    if (error instanceof PackageError) throw error;
    throw new PackageError(`app.json or manifest.json lacks something (${String(error)}). Export the bundle again.`);
  }
  return { app, manifest };
}

/** The files that make up a graph: the graph itself first, then its weights. */
export function filesOf(manifest: Manifest, graph: Graph): string[] {
  const { file } = manifest.graphs[graph];
  return [file, ...Object.keys(manifest.files).filter((name) => name === `${file}.data`)];
}

function parse<T extends { format: string }>(text: string, name: string, format: string): T {
  let value: T | null = null;
  try {
    value = JSON.parse(text) as T;
  } catch {
    // Said below: a host that answers everything with its own page is the usual reason.
  }
  if (value?.format !== format) {
    throw new PackageError(`${name} is not that of a package (“${format}”). Copy the whole package to the host again.`);
  }
  return value;
}

/** SHA-256 over the lines `NAME SHA256`, sorted by name. */
async function fingerprint(manifest: Manifest): Promise<string> {
  const names = Object.keys(manifest.files).sort();
  const listing = names.map((name) => `${name} ${manifest.files[name]!.sha256}\n`).join("");
  return sha256(new TextEncoder().encode(listing));
}

/** What files and arrays are made of must be possible before anything is fetched or allocated. */
function check(app: App, manifest: Manifest): void {
  for (const name of [app.model_folder, ...Object.keys(manifest.files)]) {
    if (!FILE_NAME.test(name)) throw new PackageError(`The name ${JSON.stringify(name)} is not that of a package's file.`);
  }
  for (const [name, { size, sha256: digest }] of Object.entries(manifest.files)) {
    if (!Number.isInteger(size) || size < 0 || size > MAX_FILE_BYTES || !/^[0-9a-f]{64}$/.test(digest)) {
      throw new PackageError(`The manifest says ${size} bytes of ${name}; a browser takes at most ${MAX_FILE_BYTES}.`);
    }
  }
  const { resolution, latent_size: latentSize } = manifest;
  const sizes = [resolution, latentSize, resolution / latentSize];
  if (!sizes.every((size) => Number.isInteger(size) && size > 0 && size <= MAX_RESOLUTION)) {
    throw new PackageError(`The manifest says ${resolution} pixels and ${latentSize} latents, which cannot be.`);
  }
  for (const graph of GRAPHS) {
    if (!manifest.files[manifest.graphs[graph].file]) throw new PackageError(`The manifest lists no file of the ${graph}.`);
  }
  checkTensors(manifest);
  checkNoise(manifest);
  checkTable(manifest);
}

/** A noise schedule of another kind would give wrong pictures, and numbers out of range none. */
function checkNoise({ scheduler, defaults }: Manifest): void {
  const { beta_start: first, beta_end: last, train_timesteps: count, beta_schedule: kind, prediction } = scheduler;
  const betas = first > 0 && first <= last && last < 1 && whole(count, 1, MAX_TRAIN_TIMESTEPS);
  const { steps, guidance, strength, noise_offset: offset } = defaults;
  const ranges = guidance >= 0 && guidance <= 100 && strength > 0 && strength <= 1 && offset >= 0 && offset <= 1;
  if (kind !== "scaled_linear" || prediction !== "epsilon" || !betas || !whole(steps, 1, 1000) || !ranges) {
    throw new PackageError(
      `The manifest's noise schedule (${JSON.stringify(kind)}, ${JSON.stringify(prediction)}) or its defaults cannot be ` +
        "run here. Export the bundle again.",
    );
  }
}

function whole(value: number, low: number, high: number): boolean {
  return Number.isInteger(value) && value >= low && value <= high;
}

/** A table that cannot be run is found here, not in the middle of an edit. A solver that is not known is no fault. */
function checkTable({ scheduler, defaults }: Manifest): void {
  const { solver, start, coefficients: rows, train_timesteps: limit } = scheduler;
  const names = ["timestep", "a", "b", "c", "p", "q"] as const satisfies (keyof Step)[];
  const numbers = rows.flatMap((row) => names.map((name) => row[name]));
  const falling = rows.every(({ timestep }, i) => Number.isInteger(timestep) && timestep < (rows[i - 1]?.timestep ?? limit));
  const fine = falling && rows.length >= 1 && rows.length <= defaults.steps && rows.at(-1)!.timestep >= 0;
  const starts = [start.sqrt_alpha_bar, start.sqrt_one_minus_alpha_bar];
  if (typeof solver !== "string" || !IDENTIFIER.test(solver) || !fine || start.timestep !== rows[0]!.timestep || ![...numbers, ...starts].every(Number.isFinite)) {
    throw new PackageError(
      `The manifest's table of the solver ${JSON.stringify(solver)} cannot be run: expected 1 to ${defaults.steps} rows of ` +
        "six numbers, with falling timesteps from the start's on. Export the bundle again.",
    );
  }
}

function checkTensors(manifest: Manifest): void {
  for (const [graph, spec] of Object.entries(manifest.graphs)) {
    for (const tensor of [...spec.inputs, ...spec.outputs]) {
      if (tensor.dtype !== "float32") {
        throw new PackageError(
          `The ${graph}'s ${tensor.name} is ${tensor.dtype}; this page knows float32 alone. Export with --target ort.`,
        );
      }
    }
  }
}
