"""Write a result in the format of its file's suffix, with the colours and metadata of its photo."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.files import check_writable, write_atomically
from moebius_edge.inpaint.imaging import Carried, Photo
from moebius_edge.photos import colour, deep, metadata, png
from moebius_edge.photos.tiff import tiff_file

# Suffix -> Pillow's format. Lossless wherever the format can be.
FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True, "exact": True},
}
OPAQUE = ("JPEG", "BMP")  # formats without transparency
DEEP = ("PNG", "TIFF")  # formats that are written in 16 bits
LONGEST = {"JPEG": 65_500, "WEBP": 16_383}  # pixels of a side: the encoders take no more
SEGMENT = 65_500  # bytes of a JPEG's EXIF data or XMP: what a segment of 65,535 holds besides its head


def format_of(output: Path) -> str:
    """Return Pillow's name of the format in which `output` is written. Raises InvalidInput for none."""
    kind = FORMATS.get(output.suffix.lower())
    if kind is None:
        what = f"as {output.suffix}" if output.suffix else "without a suffix, which chooses the format"
        raise InvalidInput(
            f"the output {output} cannot be written {what}; end its name in one of {', '.join(FORMATS)}"
        )
    return kind


def check_place(output: Path) -> None:
    """Raise InvalidInput, before any work is done, when `output` cannot be written."""
    format_of(output)
    if output.is_dir():
        raise InvalidInput(f"the output {output} is a folder; name a file in it")
    if not output.parent.is_dir():
        raise InvalidInput(f"the output's folder {output.parent} does not exist; create it first")
    try:
        check_writable(output)
    except OSError as error:
        raise InvalidInput(
            f"the output {output} cannot be written: {error.strerror or error}; choose another place"
        ) from error


def check_kind(photo: Photo, output: Path) -> None:
    """Raise InvalidInput when a result of `photo` cannot be stored in the format of `output`."""
    kind, instead = format_of(output), f"write a .png instead of {output.name}"
    if kind in OPAQUE and photo.alpha is not None:
        raise InvalidInput(f"{kind} cannot keep the photo's transparency; {instead}")
    if kind == "BMP" and photo.profile is not None:
        raise InvalidInput(f"BMP cannot keep the photo's colour profile; {instead}")
    special = colour.special(photo.carried.chunks, photo.profile)
    if kind != "PNG" and special is not None:
        raise InvalidInput(
            f"{kind} cannot keep how the photo's colours are to be shown (its {special} chunk); {instead}"
        )
    longest = LONGEST.get(kind, max(photo.size))
    if max(photo.size) > longest:
        raise InvalidInput(
            f"the photo is {photo.size[0]}x{photo.size[1]} pixels, and {kind} takes at most {longest:,} on a "
            f"side; {instead}"
        )


def left_out(photo: Photo, output: Path) -> list[str]:
    """Say what of `photo` the format of `output` has no place for, a sentence each: metadata, 16 bits."""
    kind, carried = format_of(output), photo.carried
    found = {"EXIF data": carried.exif, "XMP": carried.xmp}
    notes = [
        f"the {name} of the photo are left out: {kind} has no place for them"
        for name, data in found.items()
        if data is not None and not _fits(kind, data)
    ]
    if photo.deep is not None and kind not in DEEP:
        notes.append(f"the photo has 16 bits, of which 8 are kept in {kind}; PNG and TIFF keep all")
    return notes


def _fits(kind: str, data: bytes) -> bool:
    return kind != "BMP" and (kind != "JPEG" or len(data) <= SEGMENT)


def save_picture(picture: Image.Image, output: Path, photo: Photo, policy: str = metadata.KEEP) -> None:
    """Write the result `picture` of `photo`: PNG and TIFF in 16 bits where the photo has them.

    `policy`: what of the metadata is written, one of `metadata.POLICIES`. Raises OSError when the disk
    refuses; then `output` is what it was before.
    """
    kind = format_of(output)
    carried = metadata.chosen(photo.carried, policy, picture.size)
    pixels = deep.merged(photo, picture) if kind in DEEP else None
    if kind == "TIFF":
        whole = np.asarray(picture) if pixels is None else pixels
        data = tiff_file(whole.reshape(*whole.shape[:2], -1), photo.profile, carried)
    elif pixels is not None:
        data = deep.png_file(pixels, _png_chunks(photo, carried, with_profile=True))
    else:
        data = _encoded(picture, kind, photo, carried)
    write_atomically(output, data)


def _encoded(picture: Image.Image, kind: str, photo: Photo, carried: Carried) -> bytes:
    """Return a file of 8 bits by Pillow's encoder."""
    options = dict(OPTIONS.get(kind, {}))
    if photo.profile is not None:
        options["icc_profile"] = photo.profile
    if carried.dpi is not None:
        options["dpi"] = carried.dpi
    for name, data in (("exif", carried.exif), ("xmp", carried.xmp)):
        if data is not None and _fits(kind, data):
            options[name] = data
    buffer = io.BytesIO()
    if kind == "PNG":
        picture.save(buffer, "PNG", icc_profile=photo.profile)
        return png.with_chunks(buffer.getvalue(), _png_chunks(photo, carried))
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _png_chunks(photo: Photo, carried: Carried, *, with_profile: bool = False) -> list[bytes]:
    """Return the chunks that a PNG has before its pixels, besides the header and a palette."""
    profile = photo.profile if with_profile else None
    known = png.written(profile, carried.dpi, carried.exif, carried.xmp)
    return [png.chunk(*each) for each in (*known, *carried.chunks, *carried.texts)]
