"""Write pictures in the format of their suffix, atomically."""

import io
from pathlib import Path
from typing import Any

from PIL import Image

from moebius_edge.bundle.folder import refuse_inside
from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.files import write_atomically
from moebius_edge.inpaint.imaging import Photo, read_photo

# Suffix -> (Pillow's format, its options). Lossless wherever the format can be.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
    ".webp": ("WEBP", {"lossless": True, "exact": True}),
    ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ".bmp": ("BMP", {}),
}
OPAQUE = ("JPEG", "BMP")  # formats without transparency
LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels of a side: the encoders take no more


def check_output(output: Path, photo: Path, mask: Path, force: bool) -> None:
    """Raise InvalidInput, before any work is done, when `output` cannot or should not be written."""
    if output.suffix.lower() not in FORMATS:
        raise InvalidInput(
            f"the output {output} has no suffix of a picture format; expected one of {', '.join(FORMATS)}"
        )
    if output.is_dir():
        raise InvalidInput(f"the output {output} is a folder; name a file in it")
    if not output.parent.is_dir():
        raise InvalidInput(f"the output's folder {output.parent} does not exist; create it first")
    refuse_inside(output)
    for source in (photo, mask):
        if not force and source.exists() and output.exists() and output.samefile(source):
            raise InvalidInput(f"the output would replace {source}; choose another name, or add --force")
    kind = FORMATS[output.suffix.lower()][0]
    if kind in OPAQUE or kind in LONGEST:
        _check_kind(kind, read_photo(photo), output)


def _check_kind(kind: str, photo: Photo, output: Path) -> None:
    """Raise InvalidInput when a picture like `photo` cannot be stored in that format."""
    if kind in OPAQUE and photo.alpha is not None:
        raise InvalidInput(
            f"{kind} cannot keep the photo's transparency; write a .png instead of {output.name}"
        )
    longest = LONGEST.get(kind, max(photo.size))
    if max(photo.size) > longest:
        raise InvalidInput(
            f"the photo is {photo.size[0]}x{photo.size[1]} pixels, and {kind} takes at most {longest:,} on a "
            f"side; write a .png instead of {output.name}"
        )


def save_picture(picture: Image.Image, output: Path) -> None:
    """Write a picture with its colour profile.

    Raises OSError when the disk refuses; then `output` is what it was before.
    """
    kind, options = FORMATS[output.suffix.lower()]
    if profile := picture.info.get("icc_profile"):
        options = {**options, "icc_profile": profile}
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **options)
    write_atomically(output, buffer.getvalue())
