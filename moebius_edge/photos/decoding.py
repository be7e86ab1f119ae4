"""Decode a picture's file: its pixels upright, and what else it holds, each part read on its own.

Pillow gets no metadata of JPEG and PNG files at all: what it would make of them could stop it.
"""

import io
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.explain import install
from moebius_edge.common.silence import captured_stderr
from moebius_edge.inpaint.imaging import Carried, Words
from moebius_edge.photos import colour, deep, exif, isobmff, jpeg, metadata, png, truncated
from moebius_edge.photos.limits import FORMATS, MAX_FILE, check, decoding, has_several, several
from moebius_edge.photos.options import ReadOptions

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What libtiff says of the directory, while all pixels are read.
HARMLESS = ("TIFFReadDirectory", "TIFFFetch", "TIFFAdvanceDirectory")


@dataclass
class Decoded:
    """A decoded picture."""

    image: Image.Image  # upright, 8 bits per channel, one of limits.MODES but CMYK
    deep: Words | None = None  # [H,W,C], upright: the samples of a file of 16 bits
    profile: bytes | None = None  # ICC
    carried: Carried = field(default_factory=Carried)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """What is to be read, and how."""

    what: str  # what it is called in messages
    least: int  # pixels of its sides
    options: ReadOptions


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
            found = _decode_other(file, request)
        if found.image.mode == "CMYK":
            found.image = colour.cmyk_to_srgb(found.image, found.profile, request.what)
            found.profile = None
            found.notes.append(f"{request.what} is CMYK; it was converted to sRGB through its colour profile")
    return found


def describe(found: Decoded, what: str, data: bytes | None, xmp: bytes | None) -> None:
    """Add the metadata of a file to what was decoded: its EXIF data and XMP, as they were read."""
    if data:
        kept = exif.rebuilt(exif.within(data), found.image.size) if len(data) <= exif.MAX_BYTES else None
        found.carried = replace(found.carried, exif=kept)
        if kept is None:
            found.notes.append(f"the EXIF data of {what} cannot be read and are left out")
    if xmp:
        kept = metadata.upright_xmp(xmp)
        found.carried = replace(found.carried, xmp=kept)
        parts = metadata.parts_named(xmp)
        found.notes += [_beside(what, part) for part in parts]
        if kept is None and not parts:
            found.notes.append(
                f"the XMP data of {what} are left out: they are too large or describe other parts"
            )


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return a decoded image upright: `orientation` is that of EXIF, 1 to 8."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def load_quietly(image: Image.Image) -> None:
    """Decode an opened image.

    Raises ValueError for what libtiff only prints: it goes on with wrong pixels.
    """
    if not any(tile[0] == "libtiff" for tile in getattr(image, "tile", [])):
        image.load()
        return
    with captured_stderr() as said:
        image.load()
        lines = [line for line in said().splitlines() if line and not line.startswith(HARMLESS)]
    if lines:
        raise ValueError(f"{len(lines)} complaints of its decoder, the first: {lines[0]}")


def _all_of(file: BinaryIO, what: str) -> bytes:
    data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise InvalidInput(
            f"{what} has more than {MAX_FILE:,} bytes, the most that a JPEG or PNG may have here"
        )
    return data


def _beside(what: str, part: str) -> str:
    return f"{what} also holds {part}, which the result does not have"


def _decode_jpeg(data: bytes, request: Request) -> Decoded:
    what, parts = request.what, jpeg.take_apart(data)
    del data
    if parts.scans > jpeg.MAX_SCANS:
        raise InvalidInput(f"{what} is a JPEG of {parts.scans} scans; at most {jpeg.MAX_SCANS} are read")
    image = Image.open(io.BytesIO(parts.picture + jpeg.END), formats=["JPEG"])
    check(image, what, request.least, first_frame=False)
    image.load()
    missing, notes = truncated.share(parts, image), list[str]()
    if missing:
        lacks = f"{what} is cut off: {max(round(missing * 100), 1)} % of its picture are missing"
        if not request.options.accept_truncated:
            raise InvalidInput(
                f"{lacks}; get the whole file, or take it as it is with --accept-truncated (Python: "
                "ReadOptions(accept_truncated=True))"
            )
        notes.append(lacks)
    upright = turned(image, exif.orientation(parts.exif or b""))
    found = Decoded(upright, profile=parts.profile, carried=Carried(dpi=dots_per_inch(image)), notes=notes)
    if parts.profile_broken:
        notes.append(f"the colour profile of {what} is incomplete and is left out")
    describe(found, what, parts.exif, parts.xmp)
    beside = {
        "a gain map (HDR)": parts.gain_map,
        "a video (motion photo)": parts.behind[4:8] == b"ftyp",
        "further pictures (a preview, a depth map)": parts.pictures and not parts.gain_map,
    }
    named = " ".join(notes)
    notes += [_beside(what, part) for part, there in beside.items() if there and part not in named]
    return found


def _decode_png(data: bytes, request: Request) -> Decoded:
    what, parts = request.what, png.take_apart(data)
    del data
    if parts.bad_picture:
        raise InvalidInput(
            f"{what} cannot be decoded, it is damaged or cut off: the checksum of its {parts.bad_picture} is "
            "wrong"
        )
    if png.frames(parts) > 1 and not request.options.first_frame:
        raise InvalidInput(several(what))
    image: Image.Image = Image.open(io.BytesIO(parts.picture), formats=["PNG"])
    check(image, what, request.least, first_frame=True)
    samples = deep.png_samples(parts, load_quietly) if parts.bits == 16 else None
    if samples is not None:
        image = deep.picture(samples)
    image.load()
    parts.picture = b""
    orientation = exif.orientation(parts.chunks.get(b"eXIf", b""))
    profile, notes = png.profile(parts), [_left_out(what, kind) for kind in dict.fromkeys(parts.damaged)]
    if profile is None and b"iCCP" in parts.chunks:
        notes.append(f"the colour profile of {what} cannot be read and is left out")
    carried = Carried(
        dpi=png.dots_per_inch(parts),
        chunks=colour.that_count(parts.chunks, profile),
        texts=tuple(parts.texts),
    )
    found = Decoded(turned(image, orientation), deep.turned(samples, orientation), profile, carried, notes)
    describe(found, what, parts.chunks.get(b"eXIf"), parts.xmp)
    return found


def _left_out(what: str, kind: str) -> str:
    return f"the {kind} chunk of {what} is damaged and is left out"


def _decode_other(file: BinaryIO, request: Request) -> Decoded:
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
        notes.append(_beside(what, "further pictures"))
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
    found.carried = Carried(dpi=dots_per_inch(image), chunks=chunks)
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


def dots_per_inch(image: Image.Image) -> tuple[float, float] | None:
    """Return the pixels per inch that Pillow found, if they are numbers that can be written."""
    found = image.info.get("dpi")
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    across, down = (float(value) for value in found)
    return (across, down) if all(1 <= value <= 50_000 for value in (across, down)) else None


def _at(file: BinaryIO) -> exif.At:
    def at(offset: int, size: int) -> bytes:
        file.seek(offset)
        return file.read(size)

    return at


def _nothing() -> None:
    pass
