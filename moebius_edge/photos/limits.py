"""Say what may be read, and refuse the rest by what a file's header tells, before pixels are decoded."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos import deep

MIN_SIDE = 8  # pixels: one latent
MAX_PIXELS = 128 * 2**20  # 134 million: room for a phone's 108-megapixel mode, not for a decompression bomb
MAX_DEEP_PIXELS = 64 * 2**20  # of 16 bits per channel: they take twice the memory, and longer
MAX_PLAIN_PIXELS = 2**20  # of a PPM that is written in decimal numbers, which Pillow reads slowly
MAX_FILE = 3 << 29  # bytes of a PNG or JPEG, which is taken apart in memory: 1.6 GB

MAX_REASON = 200  # characters of a decoder's own words

# What may be decoded. Pillow knows more formats, some of which start other programs (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM", "HEIF")
SEVERAL_PICTURES_ALLOWED = ("MPO", "HEIF")  # of a phone, the one that is shown
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK")
DEEP = "{what} has more than 8 bits per channel in a way that is not read here; save it with 8 bits"

# Pillow logs some of what it also raises; without any handler, Python would print that.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@contextmanager
def decoding(what: str) -> Iterator[None]:
    """Turn whatever Pillow raises for a broken or hostile file into one InvalidInput."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes are judged here, and a warning is no answer to a user
            yield
    except InvalidInput:
        raise
    except Image.DecompressionBombError as error:
        raise InvalidInput(f"{what} is too large to open safely: at most {MAX_PIXELS:,} pixels") from error
    except UnidentifiedImageError as error:
        raise InvalidInput(
            f"{what} is not an image of a known format; expected JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or "
            "HEIC"
        ) from error
    except Exception as error:  # decoders of damaged files raise nearly every type there is
        reason = " ".join(str(error).split())[:MAX_REASON]  # of a library: any text
        raise InvalidInput(f"{what} cannot be decoded, it is damaged or cut off: {reason}") from error


def check(image: Image.Image, what: str, least: int, *, first_frame: bool, deep_too: bool = True) -> None:
    """Raise InvalidInput for what can be told from the header of an opened image.

    `first_frame`: several are allowed; `deep_too`: 16 bits are, where they can be read.
    """
    check_size(image.size, what, least)
    if image.format not in SEVERAL_PICTURES_ALLOWED and has_several(image) and not first_frame:
        raise InvalidInput(several(what))
    if isinstance(image, TiffImagePlugin.TiffImageFile) and not _covered(image):
        raise InvalidInput(f"{what} is a TIFF without all of its pixels; get the whole file")
    if image.mode.startswith(("I", "F")) or _has_more_bits(image):
        if not deep_too or image.format not in ("PNG", "TIFF") or not deep.readable(image):
            raise InvalidInput(DEEP.format(what=what))
        _check_pixels(image.size, what, MAX_DEEP_PIXELS, " with more than 8 bits per channel")
    elif any(tile[0] == "ppm_plain" for tile in getattr(image, "tile", [])):
        _check_pixels(image.size, what, MAX_PLAIN_PIXELS, " written in decimal numbers")
    if image.mode.startswith(("I", "F")):
        return
    if image.mode not in MODES:
        raise InvalidInput(f"{what} is {image.mode}; convert it to RGB, which depends on its colour profile")


def several(what: str) -> str:
    """Return what is said of an animation and of several pages."""
    return (
        f"{what} is animated or has several pages; save the one to use as a still image, or take the first "
        "one with --first-frame (Python: ReadOptions(first_frame=True))"
    )


def check_size(size: tuple[int, int], what: str, least: int) -> None:
    """Raise InvalidInput when a width or height is below `least`, or there are more than `MAX_PIXELS`."""
    width, height = size
    if min(width, height) < least:
        raise InvalidInput(f"{what} is {width}x{height} pixels; at least {least}x{least} are needed")
    _check_pixels(size, what, MAX_PIXELS)


def _check_pixels(size: tuple[int, int], what: str, most: int, kind: str = "") -> None:
    width, height = size
    if width * height > most:
        raise InvalidInput(f"{what} is {width}x{height} pixels{kind}; at most {most:,} pixels are allowed")


def has_several(image: Image.Image) -> bool:
    """Tell whether there is a second frame or page, without going through all of them."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return bool(getattr(image, "is_animated", False))
    try:
        image.seek(1)  # `n_frames` reads the header of every page
    except EOFError:
        return False
    image.seek(0)
    return True


def _covered(image: Image.Image) -> bool:
    """Tell whether the strips or tiles of an opened TIFF cover it; what they do not would be black."""
    areas = ((right - left) * (bottom - top) for _, (left, top, right, bottom), *_ in image.tile)  # type: ignore[attr-defined]
    return not image.tile or sum(areas) >= image.width * image.height  # type: ignore[attr-defined]


def _has_more_bits(image: Image.Image) -> bool:
    """Tell whether an undecoded image has more than 8 bits per channel, which Pillow silently cuts to 8."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, 1)
        return any(isinstance(word, int) and word > 8 for word in deep.as_tuple(bits))
    if image.format == "PPM":  # there the tile tells the largest value
        return any(isinstance(word, int) and word > 255 for word in deep.tile_arguments(image))
    # "BGR;16" is a BMP of 16 bits per pixel: 5 or 6 per channel.
    return any(";16" in mode.replace("BGR;16", "") for mode in deep.raw_modes(image))
