/** The page: what happens when. */

import * as Comlink from "comlink";
import type { HoleJobs } from "./loop/passes.js";
import { Cancelled, Model } from "./model.js";
import type { PhotoApi } from "./photo.worker.js";
import { SelfTestFailed } from "./selftest.js";
import { showAbout } from "./ui/about.js";
import { Controls, onShortcut } from "./ui/controls.js";
import { element, megabytes, offerFile } from "./ui/elements.js";
import { onDrop, onFile } from "./ui/files.js";
import { Frame } from "./ui/frame.js";
import { measure } from "./ui/measure.js";
import { startServiceWorker } from "./ui/offline.js";
import { MASK_COLOUR, Painter } from "./ui/painter.js";
import { Status } from "./ui/status.js";
import { Zoom } from "./ui/zoom.js";
import type { Unit } from "./units.js";

const query = new URLSearchParams(location.search);
const photos = Comlink.wrap<PhotoApi>(
  new Worker(new URL("./photo.worker.ts", import.meta.url), { type: "module", name: "photo" }),
);
const status = new Status();
const frame = new Frame();
const painter = new Painter(() => update());
const controls = new Controls(painter);
const zoom = new Zoom(painter);

const state = {
  model: null as Model | null, // once its files are here
  tested: null as Promise<void> | null, // the self-test that runs
  photo: null as { name: string; width: number; height: number } | null,
  busy: false,
  stopped: false,
  result: false,
};

/** What can be clicked follows from the state. */
function update(): void {
  const { model, photo, busy, result } = state;
  const editing = photo !== null && !busy && !result;
  painter.enabled = editing;
  element<HTMLFieldSetElement>("tools").disabled = !editing;
  zoom.shown = editing;
  element("tools").hidden = result; // what counts then is the picture, and the way back
  element<HTMLFieldSetElement>("settings").disabled = busy;
  element<HTMLButtonElement>("undo").disabled = painter.parts.length === 0;
  element<HTMLButtonElement>("clear").disabled = painter.parts.length === 0;
  element<HTMLButtonElement>("save-mask").disabled = painter.parts.length === 0;
  const run = element<HTMLButtonElement>("run");
  run.disabled = !model || !photo || busy || painter.parts.length === 0;
  run.textContent = result ? "Another variation" : "Remove and fill";
  run.classList.toggle("primary", !result);
  run.hidden = busy;
  element("cancel").hidden = !busy;
  element("result").hidden = !result || busy;
  element("another").hidden = !photo || busy;
}

/** Do something that can fail; its error is shown, and the page goes on. */
async function attempt(work: () => Promise<void>, again?: () => void): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (error instanceof Error && error.name === "Cancelled") return status.show("Stopped.");
    const lost = error instanceof Error && error.name === "ConnectionLost";
    status.fail(error, lost ? (again ?? (() => void attempt(work))) : undefined);
  } finally {
    update();
  }
}

async function loadModel(): Promise<void> {
  status.show("Loading the model…", 0);
  if (!isSecureContext) {
    throw new Error("Browsers allow what this page needs over https, and on this machine itself (localhost), alone.");
  }
  await startServiceWorker();
  const unit = (query.get("engine") as Unit | null) ?? undefined;
  const model = await Model.open(new URL("./", location.href).href, {
    onDownload: (received, total) =>
      status.show(`Loading the model: ${megabytes(received)} of ${megabytes(total)}`, received / total),
    onNotice: (sentence) => status.notice(sentence),
  }, unit);
  controls.setDefaults(model.manifest.defaults);
  await download(model);
}

/** Also what "Try again" does: files that are there are not fetched again. */
async function download(model: Model): Promise<void> {
  await attempt(async () => {
    await model.download();
    const proof = model.rememberedProof();
    status.show("Loading the engine…");
    await model.prepare();
    state.model = model;
    status.show("Ready.");
    update();
    showAbout(model, proof, () => void testModel());
    if (query.has("profile")) await whileBusy(() => measure(model, status, query));
    else if (!proof) await testModel();
  }, () => void download(model));
}

/** Replay the capsule. Edits wait for it: there is one engine. */
async function testModel(): Promise<void> {
  const { model } = state;
  if (!model || state.busy || state.tested) return;
  status.show("Testing this browser against the reference…", 0);
  state.tested = attempt(async () => {
    const proof = await model.selfTest((done, total) =>
      status.show(`Testing this browser against the reference: ${done} of ${total}`, done / total),
    );
    showAbout(model, proof, () => void testModel());
    if (proof.result.ok) status.show("Ready. This browser computes what the reference computes.");
    else {
      throw new SelfTestFailed(
        "The self-test failed: this browser computes something else than the reference. Pictures may look wrong.",
      );
    }
  });
  await state.tested;
  state.tested = null;
}

async function openPhoto(file: File): Promise<void> {
  if (state.busy) return;
  await attempt(async () => {
    status.show("Opening the photo…");
    const size = await photos.open(file);
    state.photo = { name: file.name.replace(/\.[^.]*$/, "") || "photo", ...size };
    state.result = false;
    painter.start(size, frame.showPhoto(await photos.photoView()));
    controls.setPhoto(size.width, size.height);
    element("size-hint").textContent = `${size.width} x ${size.height} pixels. Paint over what is to go.`;
    status.show(state.model ? "Paint over what is to go." : "Paint over what is to go; the model is still loading.");
  });
}

async function openMask(file: File): Promise<void> {
  await attempt(async () => {
    const index = await photos.openMask(file);
    const { width, height } = element<HTMLCanvasElement>("mask");
    painter.addImage(index, await photos.maskView(index, width, height, MASK_COLOUR));
    status.show("The mask is open; paint on it, or run.");
  });
}

async function saveMask(): Promise<void> {
  const { photo } = state;
  if (!photo) return;
  await attempt(async () => offerFile(await photos.exportMask(painter.parts), `${photo.name}-mask.png`));
}

/** Nothing can be changed while this goes on. */
async function whileBusy(work: () => Promise<void>): Promise<void> {
  state.busy = true;
  state.stopped = false;
  update();
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Error) || error.name !== "Cancelled") throw error;
  } finally {
    state.busy = false;
  }
  if (state.stopped) status.show("Stopped. The photo and the mask are as they were.");
}

async function run(): Promise<void> {
  const { model, photo } = state;
  if (!model || !photo || state.busy || painter.parts.length === 0) return;
  await attempt(async () => {
    const { dilate, ...settings } = controls.settings(state.result);
    await whileBusy(async () => {
      await state.tested;
      if (state.stopped) return;
      status.show("Preparing…", 0);
      const { resolution, latent_size: latentSize } = model.manifest;
      const plan = await unlessStopped(photos.plan(painter.parts, { resolution, latentSize }, dilate));
      const holes = plan.coarse.map(holeJobs);
      await model.run({ holes, refine: plan.refine }, settings, (done, total) => {
        if (!state.stopped) status.show(`Filling: ${done} of ${total}`, done / total);
      });
      frame.showResult(await photos.resultView());
      state.result = true;
      state.stopped = false; // it came too late
      status.show("Done. Drag over the picture to compare.");
    });
  });
}

/** What the photo's worker does for one hole; after Cancel it throws. */
function holeJobs(coarse: boolean, index: number): HoleJobs {
  const given = (decoded: Float32Array): Float32Array => Comlink.transfer(decoded, [decoded.buffer]);
  return {
    job: () => unlessStopped(photos.job(index)),
    refined: coarse ? (decoded) => unlessStopped(photos.refine(index, given(decoded))) : null,
    finish: (decoded) => unlessStopped(photos.finish(index, given(decoded))),
  };
}

async function unlessStopped<T>(work: Promise<T>): Promise<T> {
  const result = await work;
  if (state.stopped) throw new Cancelled("Stopped.");
  return result;
}

function cancel(): void {
  if (!state.busy) return;
  state.stopped = true;
  status.show("Stopping…");
  state.model?.cancel();
}

/** Back to the mask, as it was. */
function editMask(): void {
  state.result = false;
  frame.hideResult();
  status.show("Paint over what is to go.");
  update();
}

async function keepResult(): Promise<void> {
  await attempt(async () => {
    await photos.accept();
    state.result = false;
    frame.showPhoto(await photos.photoView());
    painter.reset();
    status.show("Paint over what is to go next.");
  });
}

async function downloadResult(): Promise<void> {
  if (!state.result || !state.photo) return;
  const { name } = state.photo;
  await attempt(async () => {
    status.show("Writing the PNG…");
    offerFile(await photos.exportPng(), `${name}-filled.png`);
    status.show("The picture is in your downloads.");
  });
}

function start(): void {
  const open = (file: File): void => void openPhoto(file);
  onFile("photo-file", open);
  onFile("another-file", open);
  onFile("mask-file", (file) => void openMask(file));
  onDrop(open);
  const clicks: Record<string, () => void> = {
    undo: () => painter.undo(),
    clear: () => painter.clear(),
    "save-mask": () => void saveMask(),
    run: () => void run(),
    cancel,
    download: () => void downloadResult(),
    "edit-mask": editMask,
    keep: () => void keepResult(),
  };
  for (const [id, action] of Object.entries(clicks)) element(id).addEventListener("click", action);
  onShortcut({
    b: () => controls.selectTool("brush"),
    e: () => controls.selectTool("eraser"),
    "[": () => controls.changeBrush(-4),
    "]": () => controls.changeBrush(4),
    undo: () => painter.enabled && painter.undo(),
    "+": () => zoom.closer(),
    "-": () => zoom.farther(),
    "0": () => zoom.fit(),
    o: () => element(state.photo ? "another-file" : "photo-file").click(),
    s: () => void downloadResult(),
    Enter: () => void run(),
    Escape: cancel,
  });
  update();
  const begin = (): void => void attempt(loadModel, begin);
  begin();
}

start();
