/** The paste of a fill into the photo: step 12 of docs/loop.md. */

import { type Crop, insideCrop } from "./crops.js";
import { boundingBox, cutMask, grow, grownBox, type Mask, windowCounts } from "./masks.js";
import { roundHalfEven } from "./numbers.js";
import type { Patch } from "./patch.js";
import { type Box, resize, type Rows, rowsOf } from "./resize.js";

/**
 * What of a photo changes when the model's picture `fill` [R,R,3] is pasted into it: the mask becomes the fill, which
 * fades out over `feather` pixels around it.
 *
 * @param alpha of the photo; where it is 0 nothing changes
 */
export function pasteFill(
  photo: Rows,
  crop: Crop,
  mask: Mask,
  fill: Uint8Array,
  feather: number,
  alpha: Rows | null,
): Patch {
  const resolution = Math.sqrt(fill.length / 3);
  const box = grownBox(boundingBox(mask)!, feather, insideCrop(crop, photo.width, photo.height));
  const [left, top, right, bottom] = box;
  const region: Box = [left - crop.left, top - crop.top, right - crop.left, bottom - crop.top];
  const pixels = resize(rowsOf(fill, resolution, resolution, 3), crop.side, crop.side, "lanczos", region);
  const stride = 3 * (right - left);
  let y = top;
  for (const opacity of featheredRows(mask, box, feather)) {
    alpha?.row(y).subarray(left, right).forEach((value, x) => {
      if (value === 0) opacity[x] = 0;
    });
    const old = photo.row(y).subarray(3 * left, 3 * right);
    pasteRow(old, pixels.subarray(stride * (y - top), stride * (y - top + 1)), opacity);
    y++;
  }
  return { box, pixels };
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

/**
 * Opacity of the fill, row by row of `part`, each row [right - left] in 0 to 1: exactly 1 in the mask, exactly 0
 * farther than `feather` pixels from it. Mask outside `part` is not looked at. A row is valid until the next.
 */
export function* featheredRows(mask: Mask, part: Box, feather: number): Generator<Float32Array> {
  const blur = Math.floor(feather / 2);
  const hard = grow(cutMask(mask, part), feather - blur);
  const area = (2 * blur + 1) ** 2;
  const opacity = new Float32Array(hard.width);
  for (const counts of windowCounts(hard, [0, 0, hard.width, hard.height], blur, "edge")) {
    for (let x = 0; x < counts.length; x++) opacity[x] = counts[x]! / area;
    yield opacity;
  }
}
