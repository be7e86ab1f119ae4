"""Decode what Pillow takes apart itself: WebP, TIFF, BMP, GIF, AVIF, PPM, HEIC."""

import io
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import install
from moebius_edge.inpaint.imaging import Carried
from moebius_edge.photos import colour, deep, exif, isobmff
from moebius_edge.photos.decoded import (
    Decoded,
    Request,
    beside,
    describe,
    dots_per_inch,
    load_quietly,
    turned,
)
from moebius_edge.photos.limits import FORMATS, MAX_FILE, check, has_several


def decode_by_pillow(file: BinaryIO, request: Request) -> Decoded:
    """Decode a file of a format that is not taken apart here. Raises what Pillow and its codecs raise."""
    what, notes = request.what, list[str]()
    heic, coded, points = isobmff.is_heic(file), isobmff.av1_bits(file), isobmff.code_points(file)
    if heic:
        _with_heif(what)
    try:
        image = _opened(file)
    except UnidentifiedImageError as error:
        raise ValueError("no HEIC picture is found in it") if heic else error from None
    check(image, what, request.least, first_frame=request.options.first_frame)
    if image.format == "HEIF" and has_several(image):
        notes.append(beside(what, "further pictures"))
    orientation, data = _orientation(image), image.info.get("exif")
    samples = None
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        image.load_end = _nothing  # type: ignore[method-assign]  # it would turn the image, and write its EXIF data anew
        if deep.readable(image):
            samples = deep.samples(image, lambda: _opened(file), load_quietly)
            image = deep.picture(samples)
        data = exif.rebuilt(_at(file), (0, 0), only=exif.DESCRIPTIVE)
    load_quietly(image)
    bits = image.info.get("bit_depth", coded)
    if bits > 8:
        notes.append(f"{what} has {bits} bits per channel; 8 of them are kept")
    if image.format == "WEBP" and orientation != 1:
        notes.append(
            f"the orientation in the EXIF data of {what} is not carried out, as browsers do with WebP"
        )
        orientation = 1
    profile = _profile(image, file, what, notes)
    found = Decoded(turned(image, orientation), deep.turned(samples, orientation), profile, notes=notes)
    chunks = () if profile else colour.from_code_points(*points)
    found.carried = Carried(dpi=dots_per_inch(image.info.get("dpi")), chunks=chunks)
    describe(found, what, data if isinstance(data, bytes) else None, _xmp(image))
    return found


def _opened(file: BinaryIO) -> Image.Image:
    formats = [name for name in FORMATS if name in Image.OPEN]
    file.seek(0)
    try:
        return Image.open(file, formats=formats)
    except Exception:
        # Pillow reads the EXIF data of an AVIF at once, and writes them anew where it is turned.
        file.seek(0)
        if file.read(12)[4:8] != b"ftyp":
            raise
        file.seek(0)
        return Image.open(io.BytesIO(isobmff.without_exif(file.read(MAX_FILE))), formats=formats)


def _with_heif(what: str) -> None:
    """Let Pillow open HEIC files."""
    if "HEIF" in Image.OPEN:
        return
    try:
        import pillow_heif  # noqa: PLC0415 (an extra)
    except ImportError as error:
        raise InvalidInput(
            f"{what} is a HEIC photo, which pillow-heif reads; {install('heif')}, or export it as JPEG or PNG"
        ) from error
    pillow_heif.register_heif_opener()


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation of an opened, not yet decoded image."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        value = image.tag_v2.get(exif.ORIENTATION, 1)
        return value if isinstance(value, int) else 1
    data = image.info.get("exif")
    return exif.orientation(data) if isinstance(data, bytes) else 1


def _profile(image: Image.Image, file: BinaryIO, what: str, notes: list[str]) -> bytes | None:
    """Return the ICC profile of an image; what else a BMP says of its colours is noted."""
    found = image.info.get("icc_profile")
    if image.format != "BMP":
        # A TIFF may give its profile any type; what is not bytes is no profile and could not be written back.
        return found if isinstance(found, bytes) and found else None
    file.seek(0)
    profile, lost = colour.bmp_profile(_at(file))
    if lost is not None:
        notes.append(f"{what} describes its colours by {lost}, which is left out")
    return profile


def _xmp(image: Image.Image) -> bytes | None:
    found = image.info.get("xmp")
    return found if isinstance(found, bytes) else None


def _at(file: BinaryIO) -> exif.At:
    def at(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    return at


def _nothing() -> None:
    pass
