/**
 * A photo's file -> its pixels, upright, 8 bits per channel, exactly as they are stored.
 *
 * PNG is decoded by fast-png, because a canvas multiplies colours by alpha and so loses those of transparent
 * pixels. Other formats are decoded by the browser and read strip by strip: canvases have size limits.
 */

import { convertIndexedToRgb, decode, type DecodedPng } from "fast-png";
import { InvalidInput } from "../loop/errors.js";
import { jpegProfile } from "./jpeg.js";
import { readPngHeader } from "./png.js";

export interface Photo {
  width: number;
  height: number;
  rgb: Uint8Array; // [height,width,3]
  alpha: Uint8Array | null; // [height,width], returned untouched
  grey: boolean; // the result is grey too
  profile: Uint8Array | null; // ICC colour profile, returned untouched
}

export const MIN_SIDE = 8; // pixels: one latent
export const MAX_PIXELS = 64 * 2 ** 20; // room for 48 megapixels, with all that is made of them in 2 GB
const STRIP_BYTES = 16 << 20;

/** @throws InvalidInput for what cannot be used, with one sentence */
export async function decodePhoto(blob: Blob, what = "The photo"): Promise<Photo> {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const header = readPngHeader(bytes, what);
  if (header) {
    checkSize(header.width, header.height, what);
    return decodePng(bytes, what);
  }
  return decodeByBrowser(blob, bytes, what);
}

/** ITU-R 601 luma as Pillow computes it, so that grey stays grey to the byte. */
export function luma(red: number, green: number, blue: number): number {
  return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

function checkSize(width: number, height: number, what: string): void {
  if (Math.min(width, height) < MIN_SIDE) {
    throw new InvalidInput(`${what} is ${width} x ${height} pixels; at least ${MIN_SIDE} x ${MIN_SIDE} are needed.`);
  }
  if (width * height > MAX_PIXELS) {
    const megapixels = Math.round((width * height) / 1e5) / 10;
    throw new InvalidInput(
      `${what} has ${megapixels} megapixels (${width} x ${height}); this page takes up to 67. Make it smaller first.`,
    );
  }
}

function decodePng(bytes: Uint8Array, what: string): Photo {
  let png: DecodedPng;
  let samples: Uint8Array;
  let channels: number;
  try {
    png = decode(bytes, { checkCrc: true });
    [samples, channels] = eightBit(png);
  } catch (error) {
    throw new InvalidInput(`${what} cannot be decoded, it is damaged or cut off: ${String(error)}.`);
  }
  const { width, height } = png;
  const count = width * height;
  const rgb = channels === 3 ? samples : new Uint8Array(3 * count);
  let alpha: Uint8Array | null = channels % 2 === 0 ? new Uint8Array(count) : null;
  if (channels !== 3) {
    const colours = channels < 3 ? [0, 0, 0] : [0, 1, 2];
    for (let i = 0; i < count; i++) {
      for (let c = 0; c < 3; c++) rgb[3 * i + c] = samples[channels * i + colours[c]!]!;
      if (alpha) alpha[i] = samples[channels * i + channels - 1]!;
    }
  }
  let grey = channels < 3;
  if (png.transparency && png.palette === undefined) {
    alpha = colourKeyAlpha(rgb, png);
    grey = false; // as Pillow: a transparent colour makes it RGBA
  }
  return { width, height, rgb, alpha, grey, profile: png.iccEmbeddedProfile?.profile ?? null };
}

/** Samples of 8 bits, and how many there are per pixel. */
function eightBit(png: DecodedPng): [Uint8Array, number] {
  if (png.palette) return [convertIndexedToRgb(png), png.palette[0]!.length];
  if (png.depth < 8) {
    const levels = 2 ** png.depth; // packed greys are indices into a table of greys
    const palette = Array.from({ length: levels }, (_, i) => [(255 / (levels - 1)) * i]);
    return [convertIndexedToRgb({ ...png, palette }), 1];
  }
  return [new Uint8Array(png.data.buffer, png.data.byteOffset, png.data.byteLength), png.channels];
}

/** Alpha 0 where a pixel has the file's one transparent colour. */
function colourKeyAlpha(rgb: Uint8Array, png: DecodedPng): Uint8Array {
  const scale = png.depth < 8 ? 255 / (2 ** png.depth - 1) : 1;
  const key = Array.from(png.transparency!, (value) => value * scale);
  const [red, green, blue] = key.length === 1 ? [key[0], key[0], key[0]] : key;
  const alpha = new Uint8Array(rgb.length / 3);
  for (let i = 0; i < alpha.length; i++) {
    const same = rgb[3 * i] === red && rgb[3 * i + 1] === green && rgb[3 * i + 2] === blue;
    alpha[i] = same ? 0 : 255;
  }
  return alpha;
}

async function decodeByBrowser(blob: Blob, bytes: Uint8Array, what: string): Promise<Photo> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(blob, {
      imageOrientation: "from-image",
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new InvalidInput(
      `${what} cannot be opened: it is damaged, or of a format that this browser does not know. ` +
        "Expected JPEG, PNG, WebP or AVIF; export a HEIC photo as JPEG.",
    );
  }
  try {
    checkSize(bitmap.width, bitmap.height, what);
    return { ...readPixels(bitmap), grey: false, profile: jpegProfile(bytes) };
  } finally {
    bitmap.close();
  }
}

function readPixels(bitmap: ImageBitmap): Pick<Photo, "width" | "height" | "rgb" | "alpha"> {
  const { width, height } = bitmap;
  const rows = Math.max(Math.min(height, Math.floor(STRIP_BYTES / (4 * width))), 1);
  const context = new OffscreenCanvas(width, rows).getContext("2d", { willReadFrequently: true })!;
  const rgb = new Uint8Array(3 * width * height);
  let alpha: Uint8Array | null = null;
  for (let top = 0; top < height; top += rows) {
    const count = Math.min(rows, height - top);
    context.clearRect(0, 0, width, rows);
    context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
    const { data } = context.getImageData(0, 0, width, count);
    const start = top * width;
    for (let i = 0; i < width * count; i++) {
      rgb[3 * (start + i)] = data[4 * i]!;
      rgb[3 * (start + i) + 1] = data[4 * i + 1]!;
      rgb[3 * (start + i) + 2] = data[4 * i + 2]!;
      if (data[4 * i + 3] !== 255) alpha ??= new Uint8Array(width * height).fill(255);
      if (alpha) alpha[start + i] = data[4 * i + 3]!;
    }
  }
  return { width, height, rgb, alpha };
}
