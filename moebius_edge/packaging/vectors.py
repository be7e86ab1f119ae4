"""Test vectors: what the loop outside the graphs computes, as JSON for programs in other languages.

docs/loop.md says what each part means and how close a program must come; docs/vectors.json is what
`python -m moebius_edge.packaging.vectors` prints, computed by the code that the Python runtime runs.
"""

import json
from dataclasses import asdict
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.inpaint import crops, harmonic, morphology, pasting
from moebius_edge.inpaint.loop import Draws, continued, update
from moebius_edge.inpaint.morphology import Box
from moebius_edge.inpaint.noise import PortableNoise, Stream, philox4x32
from moebius_edge.inpaint.solvers.ddim import DDIM
from moebius_edge.inpaint.solving.protocol import Solver, make_schedule
from moebius_edge.inpaint.solving.table import Step, refining
from moebius_edge.packaging.vector_cases import (
    BLOCKS,
    CORRECTIONS,
    CROPS,
    EDITS,
    HOLES,
    REFINES,
    SCHEDULES,
    SEEDS,
    SIZES,
    STARTS,
    UPDATES,
)
from moebius_edge.packaging.vector_edits import edit_vector, holes_vector, square_vector
from moebius_edge.packaging.vector_values import as_bytes, as_floats, boxed, picture, speckled

FORMAT = "moebius-edge-vectors-4"
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
        "holes": [holes_vector(*case) for case in HOLES],
        "crops": [_crop(*case) for case in CROPS],
        "grows": [_grow(radius) for radius in (0, 1, 4)],
        "feathers": [_feather(feather) for feather in (0, 1, 2, 5, 8)],
        "resizes": [_resize(*case) for case in SIZES],
        "corrections": [_correction(*case) for case in CORRECTIONS],
        "edits": [edit_vector(*case) for case in EDITS],
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
        "numbers": as_floats(numbers),
    }


def _draws(seed: int, noise_offset: float) -> dict[str, Any]:
    draws = Draws.take(PortableNoise(seed), 1, 2, noise_offset)
    return {
        "seed": f"0x{seed:016x}",
        "latent_size": 2,
        "noise_offset": noise_offset,
        "masked_image": as_floats(draws.masked_image),
        "latents": as_floats(draws.latents),
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
        "latents": as_floats(start),
        "noise": as_floats(noise),
        "result": as_floats(np.stack(results)),
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
        "mean": as_floats(mean),
        "std": as_floats(std),
        "noise": as_floats(draw),
        "latents": as_floats(sample),
        "sqrt_alpha_bar": start.sqrt_alpha_bar,
        "sqrt_one_minus_alpha_bar": start.sqrt_one_minus_alpha_bar,
        "start": as_floats(first),
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


def _start(size: int, boxes: tuple[Box, ...]) -> dict[str, Any]:
    hole = np.zeros((size, size), np.bool_)
    for left, top, right, bottom in boxes:
        hole[top:bottom, left:right] = True
    latents = PortableNoise(4).normal(Stream.LATENTS, (1, 4, size, size))
    return {
        "latent_size": size,
        "hole": as_bytes(hole),
        "latents": as_floats(latents),
        "result": as_floats(continued(latents, hole.astype(np.float32)[None, None])),
    }


def _crop(box: Box, size: tuple[int, int], resolution: int, margin: float, feather: int) -> dict[str, Any]:
    crop = crops.choose_crop(box, size, resolution, margin, feather)
    closer = crops.closer_crop(crop, box, size, resolution, feather)
    return {
        "box": list(box),
        "size": list(size),
        "resolution": resolution,
        "margin": margin,
        "feather": feather,
        "crop": square_vector(crop),
        "closer": square_vector(closer) if closer is not None else None,
    }


def _grow(radius: int) -> dict[str, Any]:
    mask = speckled((19, 13))
    return {
        "size": [19, 13],
        "mask": as_bytes(mask),
        "radius": radius,
        "grown": as_bytes(morphology.grow(mask, radius)),
    }


def _feather(feather: int) -> dict[str, Any]:
    mask = speckled((19, 13))
    opacity = pasting.feathered(mask, feather)
    return {"size": [19, 13], "mask": as_bytes(mask), "feather": feather, "opacity": as_floats(opacity)}


def _resize(size: tuple[int, int], to: tuple[int, int], kind: str) -> dict[str, Any]:
    method = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}[kind]
    pixels = picture(size) if kind == "lanczos" else speckled(size).astype(np.uint8) * np.uint8(255)
    result = np.asarray(Image.fromarray(pixels).resize(to, method))
    return {
        "size": list(size),
        "to": list(to),
        "filter": kind,
        "channels": pixels.shape[2] if pixels.ndim == 3 else 1,
        "pixels": as_bytes(pixels),
        "result": as_bytes(result),
    }


def _correction(side: int, boxes: tuple[Box, ...]) -> dict[str, Any]:
    surround, hole = picture((side, side)), boxed((side, side), boxes)
    fill = surround[::-1, ::-1]
    return {
        "side": side,
        "surround": as_bytes(surround),
        "fill": as_bytes(fill),
        "hole": as_bytes(hole),
        "correction": as_floats(harmonic.correction(surround, fill.astype(np.float64), hole)),
    }


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
