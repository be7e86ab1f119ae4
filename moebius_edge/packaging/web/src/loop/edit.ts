/** Edits of a photo: its holes, what the model is given of each, and the way back into the photo. docs/loop.md. */

import { chooseCrop, closerCrop, type Crop, insideCrop, movedCrop, squareAround } from "./crops.js";
import { InvalidInput } from "./errors.js";
import { separate } from "./grouping.js";
import { correction } from "./harmonic.js";
import { boundingBox, cutMask, grow, type Mask } from "./masks.js";
import { clamp, roundHalfEven } from "./numbers.js";
import { pasteFill } from "./pasting.js";
import { type Patch, patched } from "./patch.js";
import { type Box, partRows, type Rows } from "./resize.js";
import { complete, modelHole, pictureOf, touched, type Unknown } from "./squares.js";

export interface EditOptions {
  dilate: number; // the mask grows by so many pixels on each side
  feather: number; // pixels around the mask over which the fill fades into the photo; 0 = a hard edge
  margin: number; // context on each side of the hole, in units of the larger of hole and model size
  together: boolean; // fill holes that are far apart in one square, all at one scale
  blend: "harmonic" | "feather"; // fit the fill's colours to those at its rim, or leave them
  refine: number; // strength of a second, closer pass over a coarse fill, 0 to 1; 0 = none
}

export const DEFAULT_OPTIONS: EditOptions = {
  dilate: 0,
  feather: 8,
  margin: 1,
  together: false,
  blend: "harmonic",
  refine: 0.5,
};

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

/** The part of a photo that the square around one hole covers. */
interface Surface {
  photo: Rows; // a view: no second photo is made
  alpha: Rows | null; // a view too
  mask: Mask; // grown
  left: number; // its place in the photo
  top: number;
}

/**
 * Find the holes of a mask and prepare the first pass over each: steps 1 to 6.
 *
 * @param photo RGB
 * @param alpha of the photo; null: it has none
 * @param mask as large as the photo
 * @throws InvalidInput for an empty mask, and one that leaves nothing to fill it from, or nothing to be seen
 */
export function planEdits(photo: Rows, alpha: Rows | null, mask: Mask, size: ModelSize, options: EditOptions): Edit[] {
  const { width, height } = photo;
  const chosen = { resolution: size.resolution, ...options };
  const grown = grow(mask, options.dilate);
  const whole = boundingBox(grown);
  if (!whole) throw new InvalidInput("The mask is empty: paint over what is to go.");
  if (!grown.data.includes(0)) {
    throw new InvalidInput("The mask covers the whole photo: nothing is left to fill it from. Erase a part of it.");
  }
  if (alpha && !isSeen(grown, whole, alpha)) {
    throw new InvalidInput("The mask covers only what is fully transparent: nothing would be seen of the fill.");
  }
  const covered = (box: Box): Box => insideCrop(squareAround(box, width, height, chosen), width, height);
  const holes = options.together ? [whole] : separate(grown, size.resolution, covered);
  return holes.map((hole) => {
    const crop = chooseCrop(hole, width, height, chosen);
    const closer = options.refine > 0 ? closerCrop(crop, hole, width, height, chosen) : null;
    const inside = insideCrop(crop, width, height);
    const [left, top] = inside;
    const surface: Surface = {
      photo: partRows(photo, inside),
      alpha: alpha && partRows(alpha, inside),
      mask: cutMask(grown, inside),
      left,
      top,
    };
    const [first, second] = [movedCrop(crop, -left, -top), closer && movedCrop(closer, -left, -top)];
    return new Edit(surface, first, size, options, second, false);
  });
}

/** Whether any pixel of the mask is not fully transparent. */
function isSeen(mask: Mask, [, top, , bottom]: Box, alpha: Rows): boolean {
  for (let y = top; y < bottom; y++) {
    const start = y * mask.width;
    if (alpha.row(y).some((value, x) => value !== 0 && mask.data[start + x] === 1)) return true;
  }
  return false;
}

/**
 * One pass over one hole: steps 4 to 6, 11 and 12. Where the square is much wider than the hole, its fill is coarse:
 * then `refined` gives a second pass.
 */
export class Edit {
  readonly picture: Uint8Array; // [R,R,3], the square at model resolution
  readonly hole: Mask; // [R,R], what the model fills of it: a little more than what the mask touches
  private readonly core: Mask; // [R,R], what the mask touches
  private readonly unknown: Unknown | null;

  /** @throws InvalidInput when the hole covers all of the square, or nothing else in it can be seen */
  constructor(
    private readonly surface: Surface,
    private readonly square: Crop, // in pixels of the surface
    private readonly size: ModelSize,
    private readonly options: EditOptions,
    private readonly closer: Crop | null, // the square of the second pass; null: there is none
    private readonly again: boolean, // the second pass: the hole is filled already
  ) {
    const { resolution, latentSize } = size;
    const stride = resolution / latentSize;
    this.core = touched(surface.mask, square, resolution);
    this.hole = modelHole(this.core, stride);
    // A filter of 3 pixels to each side, of the larger of the model's and the photo's, sees further than the hole is
    // grown: by half a latent.
    const sees = !again && 6 * Math.max(resolution, square.side) > stride * square.side;
    const where = unknownRows(sees ? surface.mask : null, surface.alpha);
    this.unknown = where && complete(surface.photo, square, where, resolution);
    this.picture = pictureOf(surface.photo, square, resolution, "lanczos", this.unknown);
  }

  /** The square in pixels of the whole photo. */
  get crop(): Crop {
    return movedCrop(this.square, this.surface.left, this.surface.top);
  }

  /** Whether the fill is coarse, and a second pass wanted. */
  get coarse(): boolean {
    return this.closer !== null;
  }

  /**
   * The second pass, over the photo with this one's fill in it: step 13. Only where the fill is `coarse`.
   *
   * @param decoded the decoder's output [3,R,R] in 0 ... 1
   * @throws InvalidInput as the constructor
   */
  refined(decoded: Float32Array): Edit {
    if (!this.closer) throw new Error("there is no second pass");
    const photo = patched(this.surface.photo, [this.paste(decoded, 0)]);
    return new Edit({ ...this.surface, photo }, this.closer, this.size, this.options, null, true);
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

  /** What of the whole photo changes, given the decoder's output [3,R,R] in 0 ... 1: steps 11 and 12. */
  finish(decoded: Float32Array): Patch {
    const { left, top } = this.surface;
    const { box, pixels } = this.paste(decoded, this.options.feather);
    return { box: [box[0] + left, box[1] + top, box[2] + left, box[3] + top], pixels };
  }

  /** The same in pixels of the surface. */
  private paste(decoded: Float32Array, feather: number): Patch {
    const { photo, mask, alpha } = this.surface;
    return pasteFill(photo, this.square, mask, this.fill(decoded), feather, alpha);
  }

  private fill(decoded: Float32Array): Uint8Array {
    const { data, width: resolution } = this.hole;
    const plane = data.length;
    const fill = Float64Array.from(decoded, (value) => value * 255);
    let added: Float64Array | null = null;
    if (this.options.blend === "harmonic") {
      // The box filter sees a pixel's own area alone: nothing of what is removed in one outside the core.
      const surround = pictureOf(this.surface.photo, this.square, resolution, "box", this.unknown);
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

/** Where colours mean nothing, 1: in the mask, and where alpha is 0. null: nowhere. */
function unknownRows(mask: Mask | null, alpha: Rows | null): Rows | null {
  const like = mask ?? alpha;
  if (!like) return null;
  const { width, height } = like;
  const row = (y: number): Uint8Array => {
    const line = mask ? mask.data.slice(y * width, (y + 1) * width) : new Uint8Array(width);
    alpha?.row(y).forEach((value, x) => {
      if (value === 0) line[x] = 1;
    });
    return line;
  };
  return { width, height, channels: 1, row };
}
