/** Rectangles of new pixels in a photo. */

import type { Box, Rows } from "./resize.js";

/** New pixels [bottom - top, right - left, 3] for a part of a photo. */
export interface Patch {
  box: Box;
  pixels: Uint8Array;
}

/** The rows of a photo with patches in it; the photo itself stays as it is. */
export function patched(photo: Rows, patches: Patch[]): Rows {
  const row = (y: number): Uint8Array => {
    const here = patches.filter(({ box }) => box[1] <= y && y < box[3]);
    if (here.length === 0) return photo.row(y);
    const line = photo.row(y).slice();
    for (const { box: [left, top, right], pixels } of here) {
      const stride = 3 * (right - left);
      line.set(pixels.subarray((y - top) * stride, (y - top + 1) * stride), 3 * left);
    }
    return line;
  };
  return { ...photo, row };
}

/** Put a patch into the pixels of an RGB photo of this width. */
export function apply({ box: [left, top, right, bottom], pixels }: Patch, rgb: Uint8Array, width: number): void {
  const stride = 3 * (right - left);
  for (let y = top; y < bottom; y++) {
    rgb.set(pixels.subarray((y - top) * stride, (y - top + 1) * stride), 3 * (y * width + left));
  }
}
