/** The worker that holds the photo at full resolution, its mask and the result. */

import * as Comlink from "comlink";
import type { Mask } from "./loop/masks.js";
import { DEFAULT_OPTIONS, type Edit, type Job, type ModelSize, planEdits } from "./loop/edit.js";
import { InvalidInput } from "./loop/errors.js";
import { apply, type Patch, patched } from "./loop/patch.js";
import { resize, type Rows, rowsOf } from "./loop/resize.js";
import { decodePhoto, luma, type Photo } from "./photo/decode.js";
import { encodePng } from "./photo/png.js";
import { drawMask, type MaskPart } from "./photo/strokes.js";

const VIEW_SIDE = 1600; // pixels of the longer side of what is shown

let photo: Photo | null = null;
let images: Mask[] = []; // opened mask images
let edits: (Edit | undefined)[] = []; // of each hole, the pass that is run, until it is done
let fills: Patch[] = []; // of the holes that are done
let patches: Patch[] = []; // the result

function current(): Photo {
  if (!photo) throw new InvalidInput("There is no photo yet: open one first.");
  return photo;
}

function editOf(index: number): Edit {
  const edit = edits[index];
  if (!edit) throw new Error("`plan` comes first");
  return edit;
}

function photoRows(): Rows {
  const { rgb, width, height } = current();
  return rowsOf(rgb, width, height, 3);
}

/** The photo, or the result, at the size at which it is shown. */
async function view(rows: Rows): Promise<ImageBitmap> {
  const { alpha } = current();
  const scale = Math.min(VIEW_SIDE / Math.max(rows.width, rows.height), 1);
  const width = Math.max(Math.round(rows.width * scale), 1);
  const height = Math.max(Math.round(rows.height * scale), 1);
  const rgb = resize(rows, width, height, "box");
  const opacity = alpha && resize(rowsOf(alpha, rows.width, rows.height, 1), width, height, "box");
  const data = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    data.data.set(rgb.subarray(3 * i, 3 * i + 3), 4 * i);
    data.data[4 * i + 3] = opacity ? opacity[i]! : 255;
  }
  return bitmapOf(data);
}

async function bitmapOf(data: ImageData): Promise<ImageBitmap> {
  const bitmap = await createImageBitmap(data);
  return Comlink.transfer(bitmap, [bitmap]);
}

const api = {
  /** Open a photo; the one before is forgotten only if this one can be used. */
  async open(blob: Blob): Promise<{ width: number; height: number }> {
    photo = await decodePhoto(blob);
    images = [];
    edits = [];
    fills = [];
    patches = [];
    return { width: photo.width, height: photo.height };
  },

  photoView(): Promise<ImageBitmap> {
    return view(photoRows());
  },

  /** Make the fills of all holes the result, and show it. */
  resultView(): Promise<ImageBitmap> {
    patches = fills;
    edits = [];
    return view(patched(photoRows(), patches));
  },

  /** Open a mask image as large as the photo, white = fill. Returns its index. */
  async openMask(blob: Blob): Promise<number> {
    const { width, height } = current();
    const image = await decodePhoto(blob, "The mask image");
    if (image.width !== width || image.height !== height) {
      throw new InvalidInput(
        `The mask image is ${image.width} x ${image.height} pixels and the photo ${width} x ${height}; they must be equal.`,
      );
    }
    if (image.alpha?.some((value) => value < 255)) {
      throw new InvalidInput("The mask image has transparent pixels; save it in black and white without transparency.");
    }
    const { rgb } = image;
    const data = new Uint8Array(width * height);
    for (let i = 0; i < data.length; i++) data[i] = luma(rgb[3 * i]!, rgb[3 * i + 1]!, rgb[3 * i + 2]!) > 127 ? 1 : 0;
    images.push({ width, height, data });
    return images.length - 1;
  },

  /** An opened mask image at the size of the view: `colour` [r,g,b] in the hole, transparent outside. */
  maskView(index: number, width: number, height: number, colour: [number, number, number]): Promise<ImageBitmap> {
    const mask = images[index]!;
    const white = (y: number): Uint8Array =>
      mask.data.subarray(y * mask.width, (y + 1) * mask.width).map((value) => 255 * value);
    const opacity = resize({ width: mask.width, height: mask.height, channels: 1, row: white }, width, height, "box");
    const data = new ImageData(width, height);
    for (let i = 0; i < opacity.length; i++) data.data.set([...colour, opacity[i]!], 4 * i);
    return bitmapOf(data);
  },

  /** The mask as a black and white PNG file as large as the photo. */
  exportMask(parts: MaskPart[]): Promise<Blob> {
    const { width, height } = current();
    const { data } = drawMask(parts, images, width, height);
    const row = (y: number): Uint8Array => data.subarray(y * width, (y + 1) * width).map((value) => 255 * value);
    return encodePng({ width, height, channels: 1, profile: null, row });
  },

  /** Find the holes and prepare them: of each whether it has a second pass, and the strength of that. */
  plan(parts: MaskPart[], size: ModelSize, dilate: number): { coarse: boolean[]; refine: number } {
    const { alpha, width, height } = current();
    edits = [];
    fills = [];
    const mask = drawMask(parts, images, width, height);
    const options = { ...DEFAULT_OPTIONS, dilate };
    const planned = planEdits(photoRows(), alpha && rowsOf(alpha, width, height, 1), mask, size, options);
    edits = planned;
    return { coarse: planned.map((edit) => edit.coarse), refine: options.refine };
  },

  /** The tensors for the model, of a hole's first pass. */
  job(index: number): Job {
    return editOf(index).job();
  },

  /** Prepare a hole's second pass, over the decoder's picture [3,R,R] of the first. */
  refine(index: number, decoded: Float32Array): Job {
    const edit = (edits[index] = editOf(index).refined(decoded));
    return edit.job();
  },

  /** Take a hole's last picture of the decoder [3,R,R]. */
  finish(index: number, decoded: Float32Array): void {
    fills.push(editOf(index).finish(decoded));
    edits[index] = undefined;
  },

  /** The result becomes the photo, for the next edit. */
  accept(): void {
    const { rgb, width } = current();
    for (const patch of patches) apply(patch, rgb, width);
    patches = [];
  },

  /** The result as a PNG file at full resolution, grey or with alpha and colour profile like the photo. */
  exportPng(): Promise<Blob> {
    const { width, height, alpha, grey, profile } = current();
    const rows = patched(photoRows(), patches);
    const colours = grey ? 1 : 3;
    const channels = (alpha ? colours + 1 : colours) as 1 | 2 | 3 | 4;
    const line = new Uint8Array(width * channels);
    const row = (y: number): Uint8Array => {
      const rgb = rows.row(y);
      if (channels === 3) return rgb;
      for (let x = 0; x < width; x++) {
        const [red, green, blue] = [rgb[3 * x]!, rgb[3 * x + 1]!, rgb[3 * x + 2]!];
        if (grey) line[channels * x] = luma(red, green, blue);
        else line.set([red, green, blue], channels * x);
        if (alpha) line[channels * x + colours] = alpha[y * width + x]!;
      }
      return line;
    };
    return encodePng({ width, height, channels, profile, row });
  },
};

export type PhotoApi = typeof api;
Comlink.expose(api);
