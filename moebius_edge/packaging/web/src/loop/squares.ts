/**
 * The square around a hole, brought to the model's size row by row, without the colours that mean nothing: steps 4
 * and 5 of docs/loop.md.
 */

import { type Crop, insideCrop } from "./crops.js";
import { InvalidInput } from "./errors.js";
import { extend } from "./harmonic.js";
import { grow, type Mask } from "./masks.js";
import { clamp, roundHalfEven } from "./numbers.js";
import { type Filter, resize, type Rows, rowsOf } from "./resize.js";

/**
 * Pixels whose colours mean nothing, and what stands for them. Under full transparency most editors save black; under
 * the mask is what is to be removed. The resizing filter would mix either into its neighbours.
 */
export interface Unknown {
  where: Rows; // as large as the photo, one channel: 1 is unknown
  cells: Uint8Array; // [n,n,3]: a colour for each cell of a grid over the square
  count: number; // n
}

/** The square of a photo at model resolution [R,R,3]; `unknown` of `complete`. */
export function pictureOf(
  photo: Rows,
  crop: Crop,
  resolution: number,
  filter: Filter,
  unknown: Unknown | null,
): Uint8Array {
  const square = unknown ? completedRows(photo, crop, unknown) : cropRows(photo, crop);
  return resize(square, resolution, resolution, filter);
}

/** The mask at model resolution: every pixel that it touches. */
export function touched(mask: Mask, crop: Crop, resolution: number): Mask {
  const square = cropRows(rowsOf(mask.data, mask.width, mask.height, 1), crop);
  const white = (y: number): Uint8Array => square.row(y).map((value) => 255 * value);
  const data = resize({ ...square, row: white }, resolution, resolution, "box").map((value) => (value > 0 ? 1 : 0));
  return { width: resolution, height: resolution, data };
}

/**
 * The model's hole: what the mask touches (`core`), grown by half a latent.
 *
 * @throws InvalidInput when nothing but hole is left
 */
export function modelHole(core: Mask, stride: number): Mask {
  const resolution = core.width;
  // The top left pixel of each latent is sampled: at the far edges half a latent does not reach it.
  const inner = resolution - stride / 2;
  const edge = core.data.map((value, i) => (i % resolution < inner && i < inner * resolution ? 0 : value));
  const near = grow(core, stride / 2);
  const far = grow({ ...core, data: edge }, stride - 1);
  const hole: Mask = { ...core, data: near.data.map((value, i) => value | far.data[i]!) };
  if (!hole.data.includes(0)) {
    throw new InvalidInput("The mask leaves nothing around it to fill it from. Mark a smaller part.");
  }
  return hole;
}

/**
 * What stands for the pixels `where` of a photo; null if there is none in the square.
 *
 * The square is divided into the model's pixels, or the photo's where these are larger. A cell has the mean of its
 * known pixels; where there are none, the harmonic function of the cells around.
 *
 * @throws InvalidInput when nothing in the square is known
 */
export function complete(photo: Rows, crop: Crop, where: Rows, resolution: number): Unknown | null {
  const [left, top, right, bottom] = insideCrop(crop, where.width, where.height);
  let any = false;
  for (let y = top; y < bottom && !any; y++) any = where.row(y).subarray(left, right).includes(1);
  if (!any) return null;
  const count = Math.min(crop.side, resolution);
  const { sums, known } = cellSums(photo, crop, where, count);
  const empty: Mask = { width: count, height: count, data: Uint8Array.from(known, (pixels) => (pixels === 0 ? 1 : 0)) };
  if (!empty.data.includes(0)) {
    throw new InvalidInput(
      "Everything around the mask is fully transparent: nothing is left to fill it from. Mark a part that can be seen.",
    );
  }
  const cells = new Uint8Array(3 * count ** 2);
  for (const [channel, data] of sums.entries()) {
    for (let i = 0; i < data.length; i++) data[i] = data[i]! / Math.max(known[i]!, 1);
    extend({ width: count, height: count, data }, empty);
    for (let i = 0; i < data.length; i++) cells[3 * i + channel] = roundHalfEven(clamp(data[i]!, 0, 255));
  }
  return { where, cells, count };
}

/** Of each of `count` x `count` cells of the square, the sums of its known pixels by channel, and their number. */
function cellSums(photo: Rows, crop: Crop, where: Rows, count: number): { sums: Float64Array[]; known: Float64Array } {
  const [pixels, unknown] = [cropRows(photo, crop), cropRows(where, crop)];
  const cellOf = cellsAlong(crop.side, count);
  const zeros = (): Float64Array => new Float64Array(count ** 2);
  const [red, green, blue, known] = [zeros(), zeros(), zeros(), zeros()];
  for (let y = 0; y < crop.side; y++) {
    const [row, hidden] = [pixels.row(y), unknown.row(y)];
    for (let x = 0; x < crop.side; x++) {
      if (hidden[x]) continue;
      const cell = cellOf[y]! * count + cellOf[x]!;
      red[cell] = red[cell]! + row[3 * x]!;
      green[cell] = green[cell]! + row[3 * x + 1]!;
      blue[cell] = blue[cell]! + row[3 * x + 2]!;
      known[cell] = known[cell]! + 1;
    }
  }
  return { sums: [red, green, blue], known };
}

/** The cell, along one side of the square, of each pixel. */
function cellsAlong(side: number, count: number): Int32Array {
  return Int32Array.from({ length: side }, (_, i) => Math.floor((i * count) / side));
}

/** The square with its unknown pixels in the colours of their cells. */
function completedRows(photo: Rows, crop: Crop, { where, cells, count }: Unknown): Rows {
  const [square, unknown] = [cropRows(photo, crop), cropRows(where, crop)];
  const cellOf = cellsAlong(crop.side, count);
  const line = new Uint8Array(3 * crop.side);
  const row = (y: number): Uint8Array => {
    line.set(square.row(y));
    const hidden = unknown.row(y);
    for (let x = hidden.indexOf(1); x >= 0; x = hidden.indexOf(1, x + 1)) {
      const cell = 3 * (cellOf[y]! * count + cellOf[x]!);
      line[3 * x] = cells[cell]!;
      line[3 * x + 1] = cells[cell + 1]!;
      line[3 * x + 2] = cells[cell + 2]!;
    }
    return line;
  };
  return { ...square, row };
}

/** The square of a picture, row by row, mirrored where it reaches over the picture's edges. */
export function cropRows(picture: Rows, crop: Crop): Rows {
  const { channels } = picture;
  const [left, top, right, bottom] = insideCrop(crop, picture.width, picture.height);
  const columns = Int32Array.from({ length: crop.side }, (_, x) => channels * mirrored(crop.left + x, left, right));
  const line = new Uint8Array(crop.side * channels);
  const row = (y: number): Uint8Array => {
    const source = picture.row(mirrored(crop.top + y, top, bottom));
    if (right - left === crop.side) return source.subarray(left * channels, right * channels);
    for (let x = 0; x < crop.side; x++) {
      for (let channel = 0; channel < channels; channel++) {
        line[x * channels + channel] = source[columns[x]! + channel]!;
      }
    }
    return line;
  };
  return { width: crop.side, height: crop.side, channels, row };
}

/** ... c b a | a b c | c b a ...: where in low ... high - 1 a coordinate outside is found. */
function mirrored(value: number, low: number, high: number): number {
  const length = high - low;
  const phase = (((value - low) % (2 * length)) + 2 * length) % (2 * length);
  return low + (phase < length ? phase : 2 * length - 1 - phase);
}
