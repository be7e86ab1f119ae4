"""Decode a picture's file: its pixels upright, and what else it holds, each part read on its own.

Pillow gets no metadata of JPEG and PNG files at all: what it would make of them could stop it.
"""

import io
from typing import BinaryIO

import numpy as np
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Carried
from moebius_edge.photos import colour, deep, exif, jpeg, png, truncated
from moebius_edge.photos.by_pillow import decode_by_pillow
from moebius_edge.photos.decoded import (
    Decoded,
    Request,
    beside,
    describe,
    dots_per_inch,
    lacking,
    load_quietly,
    turned,
    without_cmyk,
)
from moebius_edge.photos.limits import MAX_FILE, check, decoding, several

MOST_NAMED = 5  # damaged chunks


def decode(file: BinaryIO, request: Request) -> Decoded:
    """Decode a file, which can be sought in and stays open. Raises InvalidInput for what cannot be used."""
    Image.init()
    head = file.read(8)
    file.seek(0)
    with decoding(request.what):
        if head.startswith(jpeg.START + b"\xff"):
            found = _decode_jpeg(_all_of(file, request.what), request)
        elif head == png.SIGNATURE:
            found = _decode_png(_all_of(file, request.what), request)
        else:
            found = decode_by_pillow(file, request)
        without_cmyk(found, request.what)
    return found


def _all_of(file: BinaryIO, what: str) -> bytes:
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise InvalidInput(
            f"{what} has more than {MAX_FILE:,} bytes, the most that a JPEG or PNG may have here"
        )
    return data


def _decode_jpeg(data: bytes, request: Request) -> Decoded:
    what, parts = request.what, jpeg.take_apart(data)
    del data
    if parts.scans > jpeg.MAX_SCANS:
        raise InvalidInput(f"{what} is a JPEG of {parts.scans} scans; at most {jpeg.MAX_SCANS} are read")
    image = Image.open(io.BytesIO(parts.picture + jpeg.END), formats=["JPEG"])
    check(image, what, request.least, first_frame=False)
    image.load()
    notes = lacking(truncated.of_jpeg(parts, image), request)
    upright = turned(image, exif.orientation(parts.exif or b""))
    carried = Carried(dpi=dots_per_inch(image.info.get("dpi")))
    found = Decoded(upright, profile=parts.profile, carried=carried, notes=notes)
    if parts.profile_broken:
        notes.append(f"the colour profile of {what} is incomplete and is left out")
    describe(found, what, parts.exif, parts.xmp)
    named = " ".join(notes)
    notes += [beside(what, part) for part in _parts_beside(parts) if part not in named]
    return found


def _parts_beside(parts: jpeg.Jpeg) -> list[str]:
    """Name what a JPEG file holds beside its picture."""
    found = {
        "a gain map (HDR)": parts.gain_map,
        "a video (motion photo)": parts.behind[4:8] == b"ftyp",
        "further pictures (a preview, a depth map)": parts.pictures and not parts.gain_map,
    }
    return [name for name, there in found.items() if there]


def _decode_png(data: bytes, request: Request) -> Decoded:
    what, parts = request.what, png.take_apart(data)
    del data
    if parts.bad_picture:
        raise InvalidInput(
            f"{what} cannot be decoded, it is damaged: the checksum of its {parts.bad_picture} is wrong"
        )
    if png.frames(parts) > 1 and not request.options.first_frame:
        raise InvalidInput(several(what))
    image: Image.Image = Image.open(io.BytesIO(parts.picture), formats=["PNG"])
    check(image, what, request.least, first_frame=True)
    lacking(truncated.of_png(parts, None), request)
    samples = deep.png_samples(parts, load_quietly) if parts.bits == 16 else None
    if samples is not None:
        image = deep.picture(samples)
    image.load()
    lacks = truncated.of_png(parts, np.asarray(image.crop((0, image.height - 2, *image.size))))
    parts.picture = b""
    orientation = exif.orientation(parts.chunks.get(b"eXIf", b""))
    profile, notes = png.profile(parts), lacking(lacks, request)
    if parts.damaged:
        notes.append(_left_out(what, list(dict.fromkeys(parts.damaged))))
    if profile is None and b"iCCP" in parts.chunks:
        notes.append(f"the colour profile of {what} cannot be read and is left out")
    carried = Carried(
        dpi=dots_per_inch(png.dots_per_inch(parts)),
        chunks=colour.that_count(parts.chunks, profile),
        texts=tuple(parts.texts),
    )
    found = Decoded(turned(image, orientation), deep.turned(samples, orientation), profile, carried, notes)
    describe(found, what, parts.chunks.get(b"eXIf"), parts.xmp)
    return found


def _left_out(what: str, kinds: list[str]) -> str:
    named = ", ".join(kinds[:MOST_NAMED]) + (" and others" if len(kinds) > MOST_NAMED else "")
    return f"damaged chunks of {what} are left out: {named}"
