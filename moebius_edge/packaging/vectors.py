"""Test vectors: what the loop outside the graphs computes, as JSON for programs in other languages.

docs/loop.md says what each part means and how close a program must come; docs/vectors.json is what
`python -m moebius_edge.packaging.vectors` prints, computed by the code that the Python runtime runs.
"""

import base64
import json
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.inpaint import crops, harmonic
from moebius_edge.inpaint.imaging import Photo, to_tensor
from moebius_edge.inpaint.loop import Draws, latent_mask, update
from moebius_edge.inpaint.noise import PortableNoise, Stream, philox4x32
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.portable import PortableEdit
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solvers.dpm import DPM
from moebius_edge.inpaint.solving.protocol import make_schedule
from moebius_edge.inpaint.solving.table import Step

FORMAT = "moebius-edge-vectors-2"
Bytes = NDArray[np.uint8]

SEEDS = (0, 1, 7, 0xFFFFFFFF, 0x0123456789ABCDEF, 2**64 - 1)
BLOCKS = (0, 1, 1023, 262143)
SCHEDULES = ((20, 0.99), (20, 1.0), (5, 0.99), (1, 1.0), (7, 0.5), (50, 0.8), (1000, 0.01))
FIRST_ROWS = [DDIM().coefficients(*length)[:1] for length in SCHEDULES[:3]]
UPDATES = (*FIRST_ROWS, DPM().coefficients(8, 0.99), DDIM().coefficients(*SCHEDULES[2]))
# Box (left, top, right, bottom), photo (width, height), resolution, margin, feather.
CROPS: tuple[tuple[crops.Box, tuple[int, int], int, float, int], ...] = (
    ((100, 120, 180, 260), (1024, 768), 512, 0.25, 8),  # the photo's own resolution
    ((0, 0, 10, 10), (4000, 3000), 512, 0.25, 8),  # in a corner
    ((3990, 2990, 4000, 3000), (4000, 3000), 512, 0.25, 8),  # in the opposite one
    ((500, 400, 2100, 1500), (4000, 3000), 512, 0.25, 8),  # scaled down
    ((10, 10, 60, 60), (300, 200), 512, 0.25, 8),  # a small photo
    ((0, 40, 3000, 80), (3000, 400), 512, 0.25, 8),  # longer than the photo is high: mirrored
    ((100, 120, 180, 260), (1024, 768), 256, 1.0, 8),  # as much context as the model is large
    ((100, 120, 500, 260), (4000, 3000), 256, 1.0, 8),  # as the hole is
    ((100, 120, 180, 260), (1024, 400), 256, 1.0, 8),  # as the photo has
    ((400, 50, 700, 350), (1000, 590), 256, 1.0, 8),  # half of the hole on each side, partly mirrored
    ((5, 5, 8, 9), (37, 23), 32, 0.5, 0),
    ((20, 3, 30, 22), (64, 24), 32, 0.0, 4),
    ((1, 2, 32, 31), (33, 47), 32, 0.05, 1),  # halves are rounded to even
)
SIZES = (  # width and height before and after
    ((7, 5), (16, 16), "lanczos"),
    ((40, 40), (32, 32), "lanczos"),
    ((64, 64), (24, 24), "lanczos"),
    ((32, 32), (32, 32), "lanczos"),
    ((16, 16), (23, 23), "lanczos"),
    ((90, 90), (32, 32), "box"),
    ((20, 20), (32, 32), "box"),
)
# Photo (width, height), the hole's box, resolution and size of the latents, options.
EDITS: tuple[tuple[tuple[int, int], crops.Box, dict[str, Any]], ...] = (
    ((100, 80), (40, 24, 60, 44), {}),
    ((100, 80), (40, 24, 60, 44), {"margin": 0.25}),  # at the photo's own resolution
    ((100, 80), (3, 2, 31, 54), {"feather": 3, "dilate": 2}),
    ((100, 80), (95, 78, 100, 80), {}),  # in the last rows and columns of the square (step 5)
    ((45, 39), (0, 0, 9, 8), {"feather": 0, "margin": 0.0}),
    ((140, 40), (5, 16, 126, 23), {"feather": 5}),
    ((66, 70), (10, 14, 30, 29), {"blend": "feather", "feather": 4}),
)
RESOLUTION, LATENT_SIZE = 64, 8
# Side of a picture and the boxes of its hole (left, top, right, bottom).
CORRECTIONS: tuple[tuple[int, tuple[crops.Box, ...]], ...] = (
    (24, ((7, 9, 12, 18),)),
    (40, ((0, 20, 9, 40), (15, 3, 31, 22), (20, 20, 40, 26))),  # at the edges, and not in whole blocks of 16
)


def vectors() -> dict[str, Any]:
    """Plain values for JSON: bytes in base64, float32 as the shortest text that reads back, arrays flat."""
    return {
        "format": FORMAT,
        "philox": [_philox(seed, stream, block) for seed in SEEDS for stream in Stream for block in BLOCKS],
        "draws": [_draws(seed, offset) for seed, offset in ((0, 0.0357), (7, 0.0), (2**64 - 1, 1.0))],
        "schedules": [_schedule(steps, strength) for steps, strength in SCHEDULES],
        "updates": [_updates(table) for table in UPDATES],
        "encodes": [_encode(seed) for seed in (0, 3)],
        "crops": [_crop(*case) for case in CROPS],
        "grows": [_grow(radius) for radius in (0, 1, 4)],
        "feathers": [_feather(feather) for feather in (0, 1, 2, 5, 8)],
        "resizes": [_resize(*case) for case in SIZES],
        "corrections": [_correction(*case) for case in CORRECTIONS],
        "edits": [_edit(*case) for case in EDITS],
    }


def _philox(seed: int, stream: Stream, block: int) -> dict[str, Any]:
    counter = np.array([[block, 0, stream, 0]], np.uint64)
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))[0]
    numbers = PortableNoise(seed).normal(stream, (4 * block + 4,))[-4:]
    return {
        "seed": f"0x{seed:016x}",
        "stream": int(stream),
        "block": block,
        "words": words.tolist(),
        "numbers": _floats(numbers),
    }


def _draws(seed: int, noise_offset: float) -> dict[str, Any]:
    draws = Draws.take(PortableNoise(seed), 1, 2, noise_offset)
    return {
        "seed": f"0x{seed:016x}",
        "latent_size": 2,
        "noise_offset": noise_offset,
        "masked_image": _floats(draws.masked_image),
        "latents": _floats(draws.latents),
    }


def _schedule(steps: int, strength: float) -> dict[str, Any]:
    schedule = make_schedule(DDIM(), steps, strength)
    return {
        "steps": steps,
        "strength": strength,
        "start": asdict(schedule.start),
        "coefficients": [asdict(step) for step in schedule.steps],
    }


def _updates(table: tuple[Step, ...]) -> dict[str, Any]:
    """Update latents by each row of a table; the noise is the same numbers, turned on by five per row."""
    start, drawn = (PortableNoise(9).normal(stream, (16,)) for stream in (Stream.IMAGE, Stream.LATENTS))
    noise = np.stack([np.roll(drawn, 5 * row) for row in range(len(table))])
    latents, estimate, results = start, np.zeros_like(start), []
    for step, predicted in zip(table, noise, strict=True):
        latents, estimate = update(step, latents, predicted, estimate)
        results.append(latents)
    return {
        "coefficients": [asdict(step) for step in table],
        "latents": _floats(start),
        "noise": _floats(noise),
        "result": _floats(np.stack(results)),
    }


def _encode(seed: int) -> dict[str, Any]:
    """Draw from a posterior, and compute where the loop starts from it."""
    source, start = PortableNoise(seed), DDIM().start(20, 0.99)
    mean, std, draw = (
        source.normal(stream, (16,)) for stream in (Stream.IMAGE, Stream.OFFSET, Stream.LATENTS)
    )
    sample = mean + std * draw
    first = np.float32(start.sqrt_one_minus_alpha_bar) * draw + np.float32(start.sqrt_alpha_bar) * sample
    return {
        "mean": _floats(mean),
        "std": _floats(std),
        "noise": _floats(draw),
        "latents": _floats(sample),
        "sqrt_alpha_bar": start.sqrt_alpha_bar,
        "sqrt_one_minus_alpha_bar": start.sqrt_one_minus_alpha_bar,
        "start": _floats(first),
    }


def _crop(
    box: crops.Box, size: tuple[int, int], resolution: int, margin: float, feather: int
) -> dict[str, Any]:
    crop = crops.choose_crop(box, size, resolution, margin, feather)
    return {
        "box": list(box),
        "size": list(size),
        "resolution": resolution,
        "margin": margin,
        "feather": feather,
        "crop": _square(crop),
    }


def _square(crop: crops.Crop) -> dict[str, int]:
    return {"left": crop.left, "top": crop.top, "side": crop.side}


def _mask(size: tuple[int, int]) -> NDArray[np.bool_]:
    """Two parts, one of them at the edge."""
    width, height = size
    mask = np.zeros((height, width), np.bool_)
    mask[2:4, 3:7] = True
    mask[height - 1, width - 2 :] = True
    return mask


def _grow(radius: int) -> dict[str, Any]:
    mask = _mask((19, 13))
    return {
        "size": [19, 13],
        "mask": _bytes(mask),
        "radius": radius,
        "grown": _bytes(crops.grow(mask, radius)),
    }


def _feather(feather: int) -> dict[str, Any]:
    mask = _mask((19, 13))
    opacity = crops.feathered(mask, feather)
    return {"size": [19, 13], "mask": _bytes(mask), "feather": feather, "opacity": _floats(opacity)}


def _picture(size: tuple[int, int]) -> Bytes:
    """[H,W,3]: smooth on the left, noise on the right, the extremes included."""
    width, height = size
    y, x, channel = np.indices((height, width, 3))
    smooth = (5 * x + 3 * y + 40 * channel) % 256
    noise = PortableNoise(5).normal(Stream.IMAGE, (height, width, 3)) * 90 + 128
    return np.where(x < width // 2, smooth, np.clip(noise, 0, 255)).astype(np.uint8)


def _resize(size: tuple[int, int], to: tuple[int, int], kind: str) -> dict[str, Any]:
    method = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}[kind]
    pixels = _picture(size) if kind == "lanczos" else _mask(size).astype(np.uint8) * np.uint8(255)
    result = np.asarray(Image.fromarray(pixels).resize(to, method))
    return {
        "size": list(size),
        "to": list(to),
        "filter": kind,
        "channels": pixels.shape[2] if pixels.ndim == 3 else 1,
        "pixels": _bytes(pixels),
        "result": _bytes(result),
    }


def _correction(side: int, boxes: tuple[crops.Box, ...]) -> dict[str, Any]:
    surround, hole = _picture((side, side)), np.zeros((side, side), np.bool_)
    for left, top, right, bottom in boxes:
        hole[top:bottom, left:right] = True
    fill = surround[::-1, ::-1]
    return {
        "side": side,
        "surround": _bytes(surround),
        "fill": _bytes(fill),
        "hole": _bytes(hole),
        "correction": _floats(harmonic.correction(surround, fill.astype(np.float64), hole)),
    }


def model_picture(resolution: int) -> NDArray[np.float32]:
    """Return a stand-in for the decoder's output: element i of [3,R,R] is (37 i mod 101) / 100; [R,R,3]."""
    flat = (37 * np.arange(3 * resolution**2) % 101).astype(np.float32) / np.float32(100)
    return flat.reshape(3, resolution, resolution).transpose(1, 2, 0)


def _edit(size: tuple[int, int], box: crops.Box, options: dict[str, Any]) -> dict[str, Any]:
    chosen = InpaintOptions(**options)
    photo = _picture(size)
    mask = np.zeros(photo.shape[:2], np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    mask[box[1], box[2] - 1] = False  # no rectangle
    edit = PortableEdit.plan(Photo(photo), mask, (RESOLUTION, LATENT_SIZE), chosen)
    result = np.asarray(edit.finish(model_picture(RESOLUTION)))
    hole = edit.job().mask
    return {
        "size": list(size),
        "resolution": RESOLUTION,
        "latent_size": LATENT_SIZE,
        "options": {name: getattr(chosen, name) for name in ("dilate", "feather", "margin", "blend")},
        "photo": _bytes(photo),
        "mask": _bytes(mask),
        "crop": _square(edit.crop),
        "picture": _bytes(edit.picture),
        "tensor": _floats(to_tensor(edit.picture)[0, :, 0, :8]),
        "hole": _bytes(edit.hole),
        "latent_mask": _floats(latent_mask(hole, LATENT_SIZE)),
        "result": _bytes(result),
    }


def _bytes(values: NDArray[Any]) -> str:
    """Row by row, channels last; of a mask 0 and 1."""
    return base64.b64encode(np.ascontiguousarray(values).astype(np.uint8).tobytes()).decode()


def _floats(values: NDArray[np.floating[Any]]) -> list[float]:
    return [float(str(value)) for value in np.asarray(values, np.float32).reshape(-1)]


@cache
def dumps() -> str:
    """Write the file as text: one line per vector, so that a change shows where it is."""
    parts = []
    for name, value in vectors().items():
        if isinstance(value, str):
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
        else:
            lines = ",\n".join(json.dumps(each, allow_nan=False) for each in value)
            parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    print(dumps(), end="")
