/** One edit of a photo: what the model is given, and the way back into the photo. docs/loop.md. */

import {
  boundingBox,
  chooseCrop,
  closerCrop,
  cropRows,
  cutMask,
  type Crop,
  featheredRows,
  grow,
  grownBox,
  insideCrop,
  type Mask,
} from "./crops.js";
import { InvalidInput } from "./errors.js";
import { correction } from "./harmonic.js";
import { clamp, roundHalfEven } from "./numbers.js";
import { type Patch, patched } from "./patch.js";
import { type Box, resize, type Rows, rowsOf } from "./resize.js";

export interface EditOptions {
  dilate: number; // the mask grows by so many pixels on each side
  feather: number; // pixels around the mask over which the fill fades into the photo; 0 = a hard edge
  margin: number; // context on each side of the hole, in units of the larger of hole and model size
  blend: "harmonic" | "feather"; // fit the fill's colours to those at its rim, or leave them
  refine: number; // strength of a second, closer pass over a coarse fill, 0 to 1; 0 = none
}

export const DEFAULT_OPTIONS: EditOptions = { dilate: 0, feather: 8, margin: 1, blend: "harmonic", refine: 0.5 };

/** The model's resolution R and its latent size h. */
export interface ModelSize {
  resolution: number;
  latentSize: number;
}

/** What the model works on. */
export interface Job {
  maskedImage: Float32Array; // [1,3,R,R] in -1 ... 1, 0 in the hole
  latentMask: Float32Array; // [1,1,h,h], 1 in the hole
  wholeImage: Float32Array | null; // [1,3,R,R], of a second pass: the hole is filled, and the loop starts from it
}

/**
 * One pass of an edit: steps 1 to 6, 11 and 12 for one photo. Where the square is much wider than the hole, its fill is
 * coarse: then `refined` gives a second pass.
 */
export class Edit {
  readonly picture: Uint8Array; // [R,R,3], the crop at model resolution
  private readonly core: Mask; // [R,R], what the mask touches of it
  readonly hole: Mask; // [R,R], what the model fills of it: a little more

  private constructor(
    private readonly photo: Rows,
    private readonly mask: Mask, // grown
    readonly crop: Crop,
    private readonly size: ModelSize,
    private readonly options: EditOptions,
    readonly closer: Crop | null, // the square of the second pass; null: there is none
    private readonly again: boolean, // the second pass: the hole is filled already
  ) {
    const { resolution, latentSize } = size;
    this.picture = resize(cropRows(photo, crop), resolution, resolution, "lanczos");
    this.core = touched(mask, crop, resolution);
    this.hole = modelHole(this.core, resolution / latentSize);
  }

  /**
   * Choose the square and prepare it.
   *
   * @param photo RGB
   * @param mask as large as the photo
   * @throws InvalidInput for an empty mask and one that leaves nothing to fill it from
   */
  static plan(photo: Rows, mask: Mask, size: ModelSize, options: EditOptions): Edit {
    const { resolution } = size;
    const { width, height } = photo;
    const grown = grow(mask, options.dilate);
    const box = boundingBox(grown);
    if (!box) throw new InvalidInput("The mask is empty: paint over what is to go.");
    if (!grown.data.includes(0)) {
      throw new InvalidInput("The mask covers the whole photo: nothing is left to fill it from. Erase a part of it.");
    }
    const crop = chooseCrop(box, width, height, { resolution, ...options });
    const closer = options.refine > 0 ? closerCrop(crop, box, width, height, { resolution, ...options }) : null;
    return new Edit(photo, grown, crop, size, options, closer, false);
  }

  /**
   * The second pass, over the photo with this one's fill in it: step 13. Only where there is a `closer` square.
   *
   * @param decoded the decoder's output [3,R,R] in 0 ... 1
   * @throws InvalidInput as `plan`
   */
  refined(decoded: Float32Array): Edit {
    if (!this.closer) throw new Error("there is no second pass");
    const filled = patched(this.photo, this.paste(decoded, 0));
    return new Edit(filled, this.mask, this.closer, this.size, this.options, null, true);
  }

  /** The tensors: step 6. */
  job(): Job {
    const resolution = this.hole.width;
    const plane = resolution * resolution;
    const image = new Float32Array(3 * plane);
    for (let i = 0; i < plane; i++) {
      for (let channel = 0; channel < 3; channel++) {
        image[channel * plane + i] = Math.fround(this.picture[3 * i + channel]! / 127.5) - 1;
      }
    }
    const maskedImage = image.map((value, i) => (this.hole.data[i % plane] ? 0 : value));
    return { maskedImage, latentMask: this.latentMask(), wholeImage: this.again ? image : null };
  }

  private latentMask(): Float32Array {
    const { resolution, latentSize } = this.size;
    const stride = resolution / latentSize;
    const mask = new Float32Array(latentSize ** 2);
    for (let y = 0; y < latentSize; y++) {
      for (let x = 0; x < latentSize; x++) {
        mask[y * latentSize + x] = this.hole.data[y * stride * resolution + x * stride]!;
      }
    }
    return mask;
  }

  /** What of the photo changes, given the decoder's output [3,R,R] in 0 ... 1: steps 11 and 12. */
  finish(decoded: Float32Array): Patch {
    return this.paste(decoded, this.options.feather);
  }

  private paste(decoded: Float32Array, feather: number): Patch {
    const resolution = this.hole.width;
    const fill = rowsOf(this.fill(decoded), resolution, resolution, 3);
    const { crop, photo } = this;
    const inside = insideCrop(crop, photo.width, photo.height);
    const local = boundingBox(cutMask(this.mask, inside))!;
    const hole: Box = [local[0] + inside[0], local[1] + inside[1], local[2] + inside[0], local[3] + inside[1]];
    // One pixel more than the feather, so that the edge of the part is empty unless it is the square's own.
    const box = grownBox(hole, feather + 1, inside);
    const [left, top, right, bottom] = box;
    const region: Box = [left - crop.left, top - crop.top, right - crop.left, bottom - crop.top];
    const pixels = resize(fill, crop.side, crop.side, "lanczos", region);
    const width = right - left;
    let y = top;
    for (const opacity of featheredRows(this.mask, box, feather)) {
      const old = photo.row(y).subarray(3 * left, 3 * right);
      pasteRow(old, pixels.subarray(3 * width * (y - top), 3 * width * (y - top + 1)), opacity);
      y++;
    }
    return { box, pixels };
  }

  private fill(decoded: Float32Array): Uint8Array {
    const { data, width: resolution } = this.hole;
    const plane = data.length;
    const fill = Float64Array.from(decoded, (value) => value * 255);
    let added: Float64Array | null = null;
    if (this.options.blend === "harmonic") {
      // The box filter sees a pixel's own area alone: nothing of what is removed in one outside the core.
      const surround = resize(cropRows(this.photo, this.crop), resolution, resolution, "box");
      added = correction(surround, fill, this.core);
    }
    const bytes = new Uint8Array(3 * plane);
    for (let i = 0; i < plane; i++) {
      for (let channel = 0; channel < 3; channel++) {
        const value = fill[channel * plane + i]! + (added?.[3 * i + channel] ?? 0);
        bytes[3 * i + channel] = roundHalfEven(clamp(value, 0, 255));
      }
    }
    return bytes;
  }
}

/** `fresh` <- round(opacity * fresh + (1 - opacity) * old), every product and the sum a 32-bit float. */
function pasteRow(old: Uint8Array, fresh: Uint8Array, opacity: Float32Array): void {
  for (let x = 0; x < opacity.length; x++) {
    const over = opacity[x]!;
    const under = Math.fround(1 - over);
    for (let i = 3 * x; i < 3 * x + 3; i++) {
      fresh[i] = roundHalfEven(Math.fround(Math.fround(over * fresh[i]!) + Math.fround(under * old[i]!)));
    }
  }
}

/** The mask at model resolution: every pixel that it touches. */
function touched(mask: Mask, crop: Crop, resolution: number): Mask {
  const square = cropRows(rowsOf(mask.data, mask.width, mask.height, 1), crop);
  const white = (y: number): Uint8Array => square.row(y).map((value) => 255 * value);
  const data = resize({ ...square, row: white }, resolution, resolution, "box").map((value) => (value > 0 ? 1 : 0));
  return { width: resolution, height: resolution, data };
}

/** The model's hole: what the mask touches, grown by half a latent: step 5. */
function modelHole(core: Mask, stride: number): Mask {
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
