"""Group the parts of a mask into holes that are edited one after another, each in a square of its own scale.

docs/loop.md, step 2. Parts whose squares overlap would see each other, so they are one hole. What is joined
may need a larger square, which may overlap the next: joining is repeated until none overlap. It ends, for
every round but the last leaves fewer holes. In a round all that overlap are joined at once, so the result
does not depend on an order. And as no square overlaps another, no edit sees what another one writes: holes
may be edited in any order, and each is filled as if it were alone.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from moebius_edge.inpaint.imaging import Bools
from moebius_edge.inpaint.morphology import Box

PER_MODEL = 4  # cells along the model's side: parts in touching cells are one hole from the start

Labels = NDArray[np.intp]


def separate(mask: Bools, resolution: int, square_of: Callable[[Box], Box]) -> list[Box]:
    """Return the box of each hole of a mask [H,W], from top to bottom and left to right.

    `square_of` gives for the box of a hole what its square covers of the photo. The boxes hold all True
    pixels, and the squares of no two of them overlap.
    """
    boxes = _parts(mask, max(resolution // PER_MODEL, 1))
    while len(joined := _join(boxes, [square_of(box) for box in boxes])) < len(boxes):
        boxes = joined
    return sorted(boxes, key=lambda box: (box[1], box[0]))


def _parts(mask: Bools, cell: int) -> list[Box]:
    """Return the boxes of a mask's parts: True pixels in cells of a grid that touch, also at a corner."""
    boxes: dict[tuple[int, int], Box] = {}
    columns = np.arange(0, mask.shape[1], cell)
    for y in range(0, len(mask), cell):
        strip = mask[y : y + cell]
        places = np.flatnonzero(strip.any(axis=0))
        if not len(places):
            continue
        rows = np.logical_or.reduceat(strip, columns, axis=1)  # [rows, cells]
        tops, bottoms = rows.argmax(axis=0), len(strip) - rows[::-1].argmax(axis=0)
        marked, lefts = np.unique(places // cell, return_index=True)
        rights = np.append(lefts[1:], len(places)) - 1
        for x, left, right in zip(marked.tolist(), places[lefts], places[rights], strict=True):
            boxes[y // cell, x] = int(left), y + int(tops[x]), int(right) + 1, y + int(bottoms[x])
    number = {place: i for i, place in enumerate(boxes)}
    beside = ((0, 1), (1, -1), (1, 0), (1, 1))
    pairs = [
        (i, number[y + down, x + right])
        for (y, x), i in number.items()
        for down, right in beside
        if (y + down, x + right) in number
    ]
    return _unions(list(boxes.values()), _components(len(boxes), pairs))


def _join(boxes: list[Box], squares: list[Box]) -> list[Box]:
    """Return the boxes around those whose squares overlap, directly or through others.

    Pairs are not listed: of thousands of large squares there are tens of millions.
    """
    left, top, right, bottom = np.array(squares).T
    labels = np.full(len(boxes), -1, np.intp)
    for first in range(len(boxes)):
        reached = [first] if labels[first] < 0 else []
        labels[reached] = first
        while reached:
            i = reached.pop()
            free = np.flatnonzero(labels < 0)
            overlap = (left[free] < right[i]) & (right[free] > left[i])
            overlap &= (top[free] < bottom[i]) & (bottom[free] > top[i])
            labels[free[overlap]] = first
            reached += free[overlap].tolist()
    return _unions(boxes, labels)


def _components(count: int, pairs: list[tuple[int, int]]) -> Labels:
    """Label `count` things with the first one that pairs connect each to, directly or through others."""
    first = list(range(count))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = i = first[first[i]]
        return i

    for i, j in pairs:
        low, high = sorted((root(i), root(j)))
        first[high] = low
    return np.array([root(i) for i in range(count)], np.intp)


def _unions(boxes: list[Box], labels: Labels) -> list[Box]:
    """Return the box around those of each label."""
    unions: dict[int, Box] = {}
    for (left, top, right, bottom), label in zip(boxes, labels.tolist(), strict=True):
        x, y, far, low = unions.get(label, (left, top, right, bottom))
        unions[label] = min(left, x), min(top, y), max(right, far), max(bottom, low)
    return list(unions.values())
