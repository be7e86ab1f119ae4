/** The worker that holds the photo at full resolution, its mask and the result. */

import * as Comlink from "comlink";
import type { Mask } from "./loop/crops.js";
import { DEFAULT_OPTIONS, Edit, type Job, type ModelSize } from "./loop/edit.js";
import { InvalidInput } from "./loop/errors.js";
import { type Patch, patched } from "./loop/patch.js";
import { resize, type Rows, rowsOf } from "./loop/resize.js";
import { decodePhoto, luma, type Photo } from "./photo/decode.js";
import { encodePng } from "./photo/png.js";
import { drawMask, type MaskPart } from "./photo/strokes.js";

const VIEW_SIDE = 1600; // pixels of the longer side of what is shown

let photo: Photo | null = null;
let images: Mask[] = []; // opened mask images
let edit: Edit | null = null;
let patch: Patch | null = null;

function current(): Photo {
  if (!photo) throw new InvalidInput("There is no photo yet: open one first.");
  return photo;
}

function planned(): Edit {
  if (!edit) throw new Error("`plan` comes first");
  return edit;
}

/** The rows of the photo with the result in it. A row is valid until the next. */
function resultRows(): Rows {
  const { rgb, width, height } = current();
  const rows = rowsOf(rgb, width, height, 3);
  return patch ? patched(rows, patch) : rows;
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
    edit = patch = null;
    return { width: photo.width, height: photo.height };
  },

  photoView(): Promise<ImageBitmap> {
    const { rgb, width, height } = current();
    return view(rowsOf(rgb, width, height, 3));
  },

  resultView(): Promise<ImageBitmap> {
    return view(resultRows());
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

  /** Prepare an edit: the tensors for the model, and the strength of a second pass (0: there is none). */
  plan(parts: MaskPart[], size: ModelSize, dilate: number): { job: Job; refine: number } {
    const { rgb, width, height } = current();
    patch = null;
    const mask = drawMask(parts, images, width, height);
    const options = { ...DEFAULT_OPTIONS, dilate };
    edit = Edit.plan(rowsOf(rgb, width, height, 3), mask, size, options);
    return { job: edit.job(), refine: edit.closer ? options.refine : 0 };
  },

  /** Prepare the second pass, over the decoder's picture [3,R,R] of the first. */
  refine(decoded: Float32Array): Job {
    edit = planned().refined(decoded);
    return edit.job();
  },

  /** Take the decoder's picture [3,R,R] into the result. */
  finish(decoded: Float32Array): void {
    patch = planned().finish(decoded);
    edit = null;
  },

  /** The result becomes the photo, for the next edit. */
  accept(): void {
    const { rgb, width } = current();
    if (!patch) return;
    const [left, top, right, bottom] = patch.box;
    const stride = 3 * (right - left);
    for (let y = top; y < bottom; y++) {
      rgb.set(patch.pixels.subarray((y - top) * stride, (y - top + 1) * stride), 3 * (y * width + left));
    }
    patch = null;
  },

  /** The result as a PNG file at full resolution, grey or with alpha and colour profile like the photo. */
  exportPng(): Promise<Blob> {
    const { width, height, alpha, grey, profile } = current();
    const rows = resultRows();
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
