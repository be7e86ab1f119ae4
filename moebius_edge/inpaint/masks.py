"""Draw seeded masks of the kinds people draw: boxes, ellipses, thick strokes and object-like blobs."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

KINDS = ("box", "ellipse", "strokes", "blob")
TRIES = 24  # drawings before the nearest area is taken


def draw_mask(
    rng: np.random.Generator, size: int, area: tuple[float, float] = (0.05, 0.4), kind: str | None = None
) -> NDArray[np.bool_]:
    """Draw a bool mask [size, size], True where the photo is to be filled, covering a fraction within `area`.

    `kind` is one of `KINDS`; None: any of them, at random. The wanted fraction is drawn uniformly and shapes
    are drawn for it; of `TRIES` drawings the first inside `area` is taken, else the nearest.
    """
    low, high = area
    best, distance = np.zeros((size, size), dtype=bool), math.inf
    for _ in range(TRIES):
        wanted = float(rng.uniform(low, high))
        drawn = kind if kind is not None else str(rng.choice(KINDS))
        mask = _DRAW[drawn](rng, size, wanted)
        got = float(mask.mean())
        if low <= got <= high:
            return mask
        if 0 < got < 1 and abs(got - wanted) < distance:
            best, distance = mask, abs(got - wanted)
    return best


def _canvas(size: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("L", (size, size), 0)
    return image, ImageDraw.Draw(image)


def _to_bool(image: Image.Image) -> NDArray[np.bool_]:
    return np.asarray(image) > 127


def _sides(rng: np.random.Generator, size: int, area: float) -> tuple[float, float]:
    """Return the width and height in pixels of a box that covers the fraction `area` of the picture.

    One is up to 2.5 times the other.
    """
    stretch = math.exp(rng.uniform(-0.45, 0.45))
    side = size * math.sqrt(area)
    return min(side * stretch, size * 0.95), min(side / stretch, size * 0.95)


def _box(rng: np.random.Generator, size: int, area: float) -> NDArray[np.bool_]:
    image, draw = _canvas(size)
    width, height = _sides(rng, size, area)
    left, top = rng.uniform(0, size - width), rng.uniform(0, size - height)
    draw.rectangle((left, top, left + width, top + height), fill=255)
    return _to_bool(image)


def _ellipse(rng: np.random.Generator, size: int, area: float) -> NDArray[np.bool_]:
    image, draw = _canvas(size)
    width, height = _sides(rng, size, min(area * 4 / math.pi, 0.85))
    left, top = rng.uniform(0, size - width), rng.uniform(0, size - height)
    draw.ellipse((left, top, left + width, top + height), fill=255)
    return _to_bool(image)


def _strokes(rng: np.random.Generator, size: int, area: float) -> NDArray[np.bool_]:
    """Draw wandering thick lines until the area is reached."""
    image, draw = _canvas(size)
    for _ in range(12):
        radius = size * rng.uniform(0.03, 0.08)
        x, y, heading = rng.uniform(0, size), rng.uniform(0, size), rng.uniform(0, 2 * math.pi)
        for _ in range(int(rng.integers(4, 10))):
            heading += rng.normal(0, 0.6)
            length = size * rng.uniform(0.05, 0.15)
            x2 = float(np.clip(x + length * math.cos(heading), 0, size))
            y2 = float(np.clip(y + length * math.sin(heading), 0, size))
            draw.line((x, y, x2, y2), fill=255, width=round(2 * radius))
            draw.ellipse((x2 - radius, y2 - radius, x2 + radius, y2 + radius), fill=255)
            x, y = x2, y2
            if np.asarray(image).mean() / 255 >= area:
                return _to_bool(image)
    return _to_bool(image)


def _blob(rng: np.random.Generator, size: int, area: float) -> NDArray[np.bool_]:
    """Draw a thing's silhouette.

    The outline's radius is a short random Fourier series, stretched and turned.
    """
    angles = np.linspace(0, 2 * math.pi, 96, endpoint=False)
    radius = np.ones_like(angles)
    for order in range(2, 7):
        radius += rng.normal(0, 0.5 / order) * np.cos(order * angles + rng.uniform(0, 2 * math.pi))
    radius = np.clip(radius, 0.25, 2.0)
    x, y = radius * np.cos(angles) * rng.uniform(1, 1.6), radius * np.sin(angles)
    turn = rng.uniform(0, 2 * math.pi)
    x, y = x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)
    covered = 0.5 * abs(float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))))
    scale = size * math.sqrt(area / max(covered, 1e-3))
    centre = [_inside(rng, axis * scale, size) for axis in (x, y)]
    image, draw = _canvas(size)
    outline = list(zip((x * scale + centre[0]).tolist(), (y * scale + centre[1]).tolist(), strict=True))
    draw.polygon(outline, fill=255)
    return _to_bool(image)


def _inside(rng: np.random.Generator, offsets: NDArray[np.float64], size: int) -> float:
    """Return a centre that keeps a shape with these offsets inside the picture.

    The middle, if the shape is too large for that.
    """
    low, high = -float(offsets.min()), size - float(offsets.max())
    return float(rng.uniform(low, high)) if low < high else size / 2


_DRAW = {"box": _box, "ellipse": _ellipse, "strokes": _strokes, "blob": _blob}
