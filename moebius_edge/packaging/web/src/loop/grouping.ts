/**
 * The holes of a mask, which are edited one after another, each in a square of its own scale: step 2 of docs/loop.md.
 *
 * No two squares overlap. So no edit sees what another one writes, and each hole is filled as if it were alone.
 */

import type { Mask } from "./masks.js";
import type { Box } from "./resize.js";

const PER_MODEL = 4; // cells along the model's side: parts in touching cells are one hole from the start

/**
 * The box of each hole, from top to bottom and from left to right. Together they hold all set pixels.
 *
 * @param covered what the square around the hole with this box covers of the photo
 */
export function separate(mask: Mask, resolution: number, covered: (box: Box) => Box): Box[] {
  let boxes = touchingParts(mask, Math.max(Math.floor(resolution / PER_MODEL), 1));
  for (;;) {
    // What is joined may need a larger square, which may overlap the next.
    const joined = joinOverlapping(boxes, boxes.map(covered));
    if (joined.length === boxes.length) return boxes.sort((a, b) => a[1] - b[1] || a[0] - b[0]);
    boxes = joined;
  }
}

/** The boxes of the parts of a mask: set pixels in cells of a grid that touch, at a side or a corner. */
function touchingParts(mask: Mask, cell: number): Box[] {
  const columns = Math.ceil(mask.width / cell);
  const cells = cellBoxes(mask, cell, columns);
  const places = [...cells.keys()];
  const indices = new Map(places.map((place, i) => [place, i]));
  const groups = new Groups(places.length);
  places.forEach((place, i) => {
    const column = place % columns;
    const beside = [columns];
    if (column > 0) beside.push(columns - 1);
    if (column < columns - 1) beside.push(1, columns + 1);
    for (const step of beside) {
      const other = indices.get(place + step);
      if (other !== undefined) groups.unite(i, other);
    }
  });
  return groups.around([...cells.values()]);
}

/** The box of the set pixels in each cell that has any, by row * columns + column of the cell. */
function cellBoxes({ width, height, data }: Mask, cell: number, columns: number): Map<number, Box> {
  const boxes = new Map<number, Box>();
  for (let y = 0; y < height; y++) {
    const row = data.subarray(y * width, (y + 1) * width);
    for (let left = row.indexOf(1); left >= 0; ) {
      const column = Math.floor(left / cell);
      const end = (column + 1) * cell;
      const right = left + row.subarray(left, end).lastIndexOf(1) + 1;
      const place = Math.floor(y / cell) * columns + column;
      const line: Box = [left, y, right, y + 1];
      boxes.set(place, union(boxes.get(place) ?? line, line));
      left = row.indexOf(1, end);
    }
  }
  return boxes;
}

/** The boxes around those whose squares share a pixel, directly or through others. */
function joinOverlapping(boxes: Box[], squares: Box[]): Box[] {
  const groups = new Groups(boxes.length);
  squares.forEach((a, i) => {
    for (let j = i + 1; j < squares.length; j++) {
      const b = squares[j]!;
      if (a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]) groups.unite(i, j);
    }
  });
  return groups.around(boxes);
}

/** Things that are connected, directly or through others. */
class Groups {
  private readonly first: number[]; // a thing of the same group, itself for one of each group

  constructor(count: number) {
    this.first = Array.from({ length: count }, (_, i) => i);
  }

  unite(i: number, j: number): void {
    this.first[this.root(j)] = this.root(i);
  }

  /** The box around those of each group. */
  around(boxes: Box[]): Box[] {
    const unions = new Map<number, Box>();
    boxes.forEach((box, i) => {
      const root = this.root(i);
      unions.set(root, union(unions.get(root) ?? box, box));
    });
    return [...unions.values()];
  }

  private root(i: number): number {
    const { first } = this;
    while (first[i] !== i) {
      first[i] = first[first[i]!]!;
      i = first[i]!;
    }
    return i;
  }
}

function union(a: Box, b: Box): Box {
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}
