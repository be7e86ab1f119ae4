/** A rectangle of new pixels in a photo. */

import type { Box, Rows } from "./resize.js";

/** New pixels [bottom - top, right - left, 3] for a part of a photo. */
export interface Patch {
  box: Box;
  pixels: Uint8Array;
}

/** The rows of a photo with a patch in it; the photo itself stays as it is. */
export function patched(photo: Rows, { box, pixels }: Patch): Rows {
  const [left, top, right, bottom] = box;
  const stride = 3 * (right - left);
  const row = (y: number): Uint8Array => {
    if (y < top || y >= bottom) return photo.row(y);
    const line = photo.row(y).slice();
    line.set(pixels.subarray((y - top) * stride, (y - top + 1) * stride), 3 * left);
    return line;
  };
  return { ...photo, row };
}
