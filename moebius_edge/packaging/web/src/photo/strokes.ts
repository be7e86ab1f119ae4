/** The mask as the user made it: a list of strokes and opened images, drawn at any size. */

import type { Mask } from "../loop/masks.js";

/** A line of a round brush, in photo pixels. */
export interface Stroke {
  kind: "brush" | "eraser";
  radius: number;
  points: number[]; // x0, y0, x1, y1, ...
}

/** A mask image that was opened: it replaces all before it. `index` is the photo worker's. */
export interface MaskImage {
  kind: "image";
  index: number;
}

export type MaskPart = Stroke | MaskImage | { kind: "clear" };

/** The mask [height,width] of the parts, one after the other. */
export function drawMask(parts: MaskPart[], images: Mask[], width: number, height: number): Mask {
  const mask = { width, height, data: new Uint8Array(width * height) };
  for (const part of parts) {
    if (part.kind === "image") mask.data.set(images[part.index]!.data);
    else if (part.kind === "clear") mask.data.fill(0);
    else drawStroke(mask, part);
  }
  return mask;
}

function drawStroke(mask: Mask, { kind, radius, points }: Stroke): void {
  const value = kind === "brush" ? 1 : 0;
  for (let i = 0; i < points.length; i += 2) {
    const before = Math.max(i - 2, 0);
    drawSegment(mask, [points[before]!, points[before + 1]!, points[i]!, points[i + 1]!], radius, value);
  }
}

/** Every pixel whose centre is within `radius` of the line from (x0, y0) to (x1, y1). */
function drawSegment(mask: Mask, [x0, y0, x1, y1]: [number, number, number, number], radius: number, value: number): void {
  const { width, height, data } = mask;
  const left = Math.max(Math.floor(Math.min(x0, x1) - radius), 0);
  const right = Math.min(Math.ceil(Math.max(x0, x1) + radius), width);
  const top = Math.max(Math.floor(Math.min(y0, y1) - radius), 0);
  const bottom = Math.min(Math.ceil(Math.max(y0, y1) + radius), height);
  const dx = x1 - x0;
  const dy = y1 - y0;
  const length = dx * dx + dy * dy;
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) {
      const px = x + 0.5 - x0;
      const py = y + 0.5 - y0;
      const along = length === 0 ? 0 : Math.min(Math.max((px * dx + py * dy) / length, 0), 1);
      const ex = px - along * dx;
      const ey = py - along * dy;
      if (ex * ex + ey * ey <= radius * radius) data[y * width + x] = value;
    }
  }
}
