"""A decoded picture, and what all formats do to one: its metadata, its orientation, what it lacks."""

from dataclasses import dataclass, field, replace

from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.silence import captured_stderr
from moebius_edge.inpaint.imaging import Carried, Words
from moebius_edge.photos import colour, exif, metadata
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
MAX_DPI = 50_000  # a JPEG holds whole numbers below 65,536
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
        found.notes += [beside(what, part) for part in parts]
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


def lacking(missing: float, request: Request) -> list[str]:
    """Return the note on a picture of which a share is missing. Raises InvalidInput if that is refused."""
    if not missing:
        return []
    lacks = f"{request.what} is cut off: {max(round(missing * 100), 1)} % of its picture are missing"
    if not request.options.accept_truncated:
        raise InvalidInput(
            f"{lacks}; get the whole file, or take it as it is with --accept-truncated (Python: "
            "ReadOptions(accept_truncated=True))"
        )
    return [lacks]


def beside(what: str, part: str) -> str:
    """Return the note on a part of a file that the result does not have."""
    return f"{what} also holds {part}, which the result does not have"


def dots_per_inch(found: object) -> tuple[float, float] | None:
    """Return the pixels per inch that were found in a file, if they are numbers that every format holds."""
    if not isinstance(found, tuple) or len(found) != 2:
        return None
    across, down = (float(value) for value in found)
    return (across, down) if all(1 <= value <= MAX_DPI for value in (across, down)) else None


def without_cmyk(found: Decoded, what: str) -> None:
    """Convert a CMYK picture to sRGB. Raises InvalidInput when it has no profile that can be used."""
    if found.image.mode == "CMYK":
        found.image = colour.cmyk_to_srgb(found.image, found.profile, what)
        found.profile = None
        found.notes.append(f"{what} is CMYK; it was converted to sRGB through its colour profile")
