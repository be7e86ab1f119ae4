"""Test vectors of whole edits: which holes a mask has, what the model gets of each, and what is pasted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from moebius_edge.inpaint import crops
from moebius_edge.inpaint.crops import Crop
from moebius_edge.inpaint.grouping import separate
from moebius_edge.inpaint.imaging import Photo, to_tensor
from moebius_edge.inpaint.loop import latent_mask
from moebius_edge.inpaint.morphology import Box
from moebius_edge.inpaint.options import InpaintOptions
from moebius_edge.inpaint.portable import PortableEdit, PortableEdits
from moebius_edge.packaging.vector_cases import EDIT_OPTIONS, LATENT_SIZE, RESOLUTION
from moebius_edge.packaging.vector_values import as_bytes, as_floats, boxed, model_picture, picture


def holes_vector(
    size: tuple[int, int], resolution: int, margin: float, feather: int, boxes: tuple[Box, ...]
) -> dict[str, Any]:
    """Return into which holes a mask of these boxes falls."""

    def covered(box: Box) -> Box:
        return crops.square(box, size, resolution, margin, feather).inside(*size)

    return {
        "size": list(size),
        "resolution": resolution,
        "margin": margin,
        "feather": feather,
        "boxes": [list(box) for box in boxes],
        "holes": [list(box) for box in separate(boxed(size, boxes), resolution, covered)],
    }


def edit_vector(
    size: tuple[int, int], boxes: tuple[Box, ...], clear: Box | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Return an edit with both passes, but for the denoiser; `clear` is a box of full transparency."""
    chosen = InpaintOptions(**options)
    photo, mask = picture(size), boxed(size, boxes)
    for _, top, right, _ in boxes:
        mask[top, right - 1] = False  # no rectangle
    alpha = None if clear is None else np.where(boxed(size, (clear,)), 0, 200).astype(np.uint8)
    # Each writes into its photo.
    first, coarse = (
        PortableEdits.plan(Photo(photo.copy(), alpha), mask, (RESOLUTION, LATENT_SIZE), chosen)
        for _ in range(2)
    )
    decoded = model_picture(RESOLUTION)
    twice = [
        edit if not chosen.refine or edit.closer is None else edit.refined(decoded) for edit in coarse.edits
    ]
    return {
        "size": list(size),
        "resolution": RESOLUTION,
        "latent_size": LATENT_SIZE,
        "options": {name: getattr(chosen, name) for name in EDIT_OPTIONS},
        "photo": as_bytes(photo),
        "alpha": None if alpha is None else as_bytes(alpha),
        "mask": as_bytes(mask),
        "holes": [
            {**_pass(edit), "again": _pass(again) if again.again else None}
            for edit, again in zip(first.edits, twice, strict=True)
        ],
        "once": _pasted(first, first.edits),
        "result": _pasted(coarse, twice),
    }


def _pass(edit: PortableEdit) -> dict[str, Any]:
    return {
        "crop": square_vector(edit.crop.moved(*edit.surface.corner)),
        "picture": as_bytes(edit.picture),
        "tensor": as_floats(to_tensor(edit.picture)[0, :, 0, :8]),
        "hole": as_bytes(edit.hole),
        "latent_mask": as_floats(latent_mask(edit.job().mask, LATENT_SIZE)),
    }


def _pasted(edits: PortableEdits, last: Sequence[PortableEdit]) -> str:
    done = edits.finish([(edit, model_picture(RESOLUTION)) for edit in last])
    return as_bytes(np.asarray(done.convert("RGB")))


def square_vector(crop: Crop) -> dict[str, int]:
    """Return a square as plain values."""
    return {"left": crop.left, "top": crop.top, "side": crop.side}
