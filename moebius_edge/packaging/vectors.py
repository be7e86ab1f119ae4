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

from moebius_edge.inpaint import crops, harmonic, morphology, pasting
from moebius_edge.inpaint.imaging import Photo, to_tensor
from moebius_edge.inpaint.loop import Draws, continued, latent_mask, update
from moebius_edge.inpaint.noise import PortableNoise, Stream, philox4x32
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.portable import PortableEdit
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import Solver, make_schedule
from moebius_edge.inpaint.solving.table import Step, refining
from moebius_edge.packaging.vector_cases import (
    BLOCKS,
    CORRECTIONS,
    CROPS,
    EDIT_OPTIONS,
    EDITS,
    LATENT_SIZE,
    REFINES,
    RESOLUTION,
    SCHEDULES,
    SEEDS,
    SIZES,
    STARTS,
    UPDATES,
    model_picture,
    picture,
)

FORMAT = "moebius-edge-vectors-3"
Bytes = NDArray[np.uint8]


def vectors() -> dict[str, Any]:
    """Plain values for JSON: bytes in base64, float32 as the shortest text that reads back, arrays flat."""
    return {
        "format": FORMAT,
        "philox": [_philox(seed, stream, block) for seed in SEEDS for stream in Stream for block in BLOCKS],
        "draws": [_draws(seed, offset) for seed, offset in ((0, 0.0357), (7, 0.0), (2**64 - 1, 1.0))],
        "schedules": [_schedule(steps, strength) for steps, strength in SCHEDULES],
        "updates": [_updates(table) for table in UPDATES],
        "refines": [_refine(*case) for case in REFINES],
        "encodes": [_encode(seed) for seed in (0, 3)],
        "starts": [_start(*case) for case in STARTS],
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


def _refine(solver: Solver, strength: float) -> dict[str, Any]:
    schedule = make_schedule(solver, 8, 0.99)
    refined = refining(schedule, solver.noise.alpha_bar(), strength)
    assert refined is not None
    return {
        "coefficients": [asdict(step) for step in schedule.steps],
        "refine": strength,
        "start": asdict(refined.start),
        "result": [asdict(step) for step in refined.steps],
    }


def _start(size: int, boxes: tuple[morphology.Box, ...]) -> dict[str, Any]:
    hole = np.zeros((size, size), np.bool_)
    for left, top, right, bottom in boxes:
        hole[top:bottom, left:right] = True
    latents = PortableNoise(4).normal(Stream.LATENTS, (1, 4, size, size))
    return {
        "latent_size": size,
        "hole": _bytes(hole),
        "latents": _floats(latents),
        "result": _floats(continued(latents, hole.astype(np.float32)[None, None])),
    }


def _crop(
    box: morphology.Box, size: tuple[int, int], resolution: int, margin: float, feather: int
) -> dict[str, Any]:
    crop = crops.choose_crop(box, size, resolution, margin, feather)
    closer = crops.closer_crop(crop, box, size, resolution, feather)
    return {
        "box": list(box),
        "size": list(size),
        "resolution": resolution,
        "margin": margin,
        "feather": feather,
        "crop": _square(crop),
        "closer": _square(closer) if closer is not None else None,
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
        "grown": _bytes(morphology.grow(mask, radius)),
    }


def _feather(feather: int) -> dict[str, Any]:
    mask = _mask((19, 13))
    opacity = pasting.feathered(mask, feather)
    return {"size": [19, 13], "mask": _bytes(mask), "feather": feather, "opacity": _floats(opacity)}


def _resize(size: tuple[int, int], to: tuple[int, int], kind: str) -> dict[str, Any]:
    method = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}[kind]
    pixels = picture(size) if kind == "lanczos" else _mask(size).astype(np.uint8) * np.uint8(255)
    result = np.asarray(Image.fromarray(pixels).resize(to, method))
    return {
        "size": list(size),
        "to": list(to),
        "filter": kind,
        "channels": pixels.shape[2] if pixels.ndim == 3 else 1,
        "pixels": _bytes(pixels),
        "result": _bytes(result),
    }


def _correction(side: int, boxes: tuple[morphology.Box, ...]) -> dict[str, Any]:
    surround, hole = picture((side, side)), np.zeros((side, side), np.bool_)
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


def _edit(size: tuple[int, int], box: morphology.Box, options: dict[str, Any]) -> dict[str, Any]:
    chosen = InpaintOptions(**options)
    photo = picture(size)
    mask = np.zeros(photo.shape[:2], np.bool_)
    mask[box[1] : box[3], box[0] : box[2]] = True
    mask[box[1], box[2] - 1] = False  # no rectangle
    # Each writes into its photo.
    first, coarse = (
        PortableEdit.plan(Photo(photo.copy()), mask, (RESOLUTION, LATENT_SIZE), chosen) for _ in range(2)
    )
    twice = chosen.refine and coarse.closer is not None
    again = coarse.refined(model_picture(RESOLUTION)) if twice else None
    return {
        "size": list(size),
        "resolution": RESOLUTION,
        "latent_size": LATENT_SIZE,
        "options": {name: getattr(chosen, name) for name in EDIT_OPTIONS},
        "photo": _bytes(photo),
        "mask": _bytes(mask),
        **_pass(first),
        "again": _pass(again) if again is not None else None,
    }


def _pass(edit: PortableEdit) -> dict[str, Any]:
    return {
        "crop": _square(edit.crop),
        "picture": _bytes(edit.picture),
        "tensor": _floats(to_tensor(edit.picture)[0, :, 0, :8]),
        "hole": _bytes(edit.hole),
        "latent_mask": _floats(latent_mask(edit.job().mask, LATENT_SIZE)),
        "result": _bytes(np.asarray(edit.finish(model_picture(RESOLUTION)))),
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
