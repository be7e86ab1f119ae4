"""Read photos and masks as arrays, and refuse what cannot be used before any work. Numpy and Pillow only.

A photo is read as 8-bit RGB after its EXIF rotation; grey stays grey, alpha and the colour profile are
carried to the result. A mask's brightness counts, never its alpha.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from moebius_edge.common.errors import InvalidInput, MoebiusError
from moebius_edge.inpaint.isobmff import av1_bits, is_heic
from moebius_edge.inpaint.pixels import brighter, rgb_of

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Source = str | Path | bytes | Image.Image | NDArray[Any]

MIN_SIDE = 8  # pixels: one latent
MAX_PIXELS = 128 * 2**20  # 134 million: room for a phone's 108-megapixel mode, not for a decompression bomb

# What may be decoded. Pillow knows more formats, some of which start other programs (EPS).
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM", "HEIF")
SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")  # of the photos in a folder
SEVERAL_FRAMES_ALLOWED = ("MPO",)  # a phone's JPEG with a preview or depth map behind the photo
DEEP = "{what} has more than 8 bits per channel; save it with 8 bits"
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")


@dataclass(frozen=True)
class Photo:
    """A photo as the loop sees it, and what is needed to give the result the mode of the photo."""

    rgb: Bytes  # [H,W,3], upright
    alpha: Bytes | None = None  # [H,W], returned untouched
    grey: bool = False  # the result is grey too
    profile: bytes | None = None  # ICC colour profile, returned untouched

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.rgb.shape[1], self.rgb.shape[0]

    def with_pixels(self, rgb: Bytes) -> Image.Image:
        """Return a picture of mode L, LA, RGB or RGBA, like the photo, with the pixels `rgb` [H,W,3]."""
        image = Image.fromarray(rgb)
        if self.grey:  # of equal channels, ITU-R 601 luma is that same value: untouched pixels stay untouched
            image = image.convert("L")
        if self.alpha is not None:
            image.putalpha(Image.fromarray(self.alpha))
        if self.profile is not None:
            image.info["icc_profile"] = self.profile
        return image


def photo_files(folder: Path, error: type[MoebiusError] = InvalidInput) -> list[Path]:
    """List the photos in a folder by name: its files that end in SUFFIXES.

    Raises `error` when there is none or the folder cannot be read.
    """
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")  # macOS leaves "._NAME"
        )
    except OSError as reason:
        raise error(f"cannot read the folder {folder}: {reason.strerror or reason}") from reason
    if not found:
        raise error(f"{folder} holds no photo; expected files ending in {', '.join(SUFFIXES)}")
    return found


def read_photo(source: Source) -> Photo:
    """Read a photo from a path, the bytes of a file, a Pillow image or a uint8 array [H,W], [H,W,3], [H,W,4].

    Raises InvalidInput: not there, not an image, damaged, more than 8 bits per channel (a Pillow image of an
    AVIF has 8 already), CMYK, animated, a side below `MIN_SIDE` pixels, more than `MAX_PIXELS`.
    """
    image = _read(source, "the photo")
    with _decoding("the photo"):  # a palette or a transparent colour may be impossible
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        pixels = rgb_of(image)
    alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    grey = image.mode in ("1", "L", "LA")
    profile = image.info.get("icc_profile")
    # A TIFF may give its profile any type; what is not bytes is no profile and could not be written back.
    return Photo(pixels, alpha, grey, profile if isinstance(profile, bytes) else None)


def read_mask(source: Source, size: tuple[int, int], polarity: str = "white") -> Bools:
    """Read a mask as bools [H,W], True where the photo is to be filled.

    `source` is as for `read_photo`, or a bool array. `size` is the photo's (width, height). `polarity`
    "white": brightness above 127.5 is the hole; "black": below. Raises InvalidInput also when the sizes
    differ, the mask has transparency, or is empty or full.
    """
    if isinstance(source, np.ndarray) and source.dtype == np.bool_:
        source = source.astype(np.uint8) * np.uint8(255)
    image = _read(source, "the mask", least=1)
    if image.size != size:
        raise InvalidInput(
            f"the mask is {image.size[0]}x{image.size[1]} pixels and the photo {size[0]}x{size[1]} (width x "
            "height, after any EXIF rotation); they must be equal"
            + ("; turn the mask by 90 degrees, as the photo is shown" if image.size == size[::-1] else "")
        )
    with _decoding("the mask"):
        if image.has_transparency_data:
            if image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
                raise InvalidInput(
                    "the mask has transparent pixels, and what they mean is not guessed; save it as a black "
                    "and white image without transparency"
                )
            image = image.convert("RGB")
        bright = brighter(image, 127.5)
    mask: Bools = bright if polarity == "white" else ~bright
    other = "black" if polarity == "white" else "white"
    if not mask.any():
        raise InvalidInput(f"the mask is empty: it has no {polarity} pixels; is its polarity {other!r}?")
    if mask.all():
        raise InvalidInput(
            f"the mask covers the whole photo: nothing is left to fill it from; {polarity} means fill"
        )
    return mask


def to_tensor(rgb: Bytes) -> NDArray[np.float32]:
    """Turn bytes [H,W,3] into float32 [1,3,H,W] in [-1,1]."""
    planes = rgb.astype(np.float32).transpose(2, 0, 1)[None]
    return np.ascontiguousarray(planes / np.float32(127.5) - np.float32(1))


def _read(source: Source, what: str, least: int = MIN_SIDE) -> Image.Image:
    """Return an upright 8-bit image of one of `MODES`, decoded."""
    if isinstance(source, np.ndarray):
        return _checked_size(_from_array(source, what), what, least)
    if isinstance(source, Image.Image):
        with _decoding(what):
            _check(source, what, least)
            return ImageOps.exif_transpose(source)
    if isinstance(source, bytes | bytearray):
        return _decode(io.BytesIO(source), what, least)
    if not isinstance(source, str | Path):
        raise InvalidInput(
            f"{what} is a {type(source).__name__}; expected a path, bytes, a Pillow image or a uint8 array"
        )
    path, what = Path(source), f"{what} {source}"
    if not path.is_file():
        reason = "is a folder, not a file" if path.is_dir() else "does not exist or is not a file"
        raise InvalidInput(f"{what} {reason}")
    try:
        with path.open("rb") as file:
            return _decode(file, what, least)
    except OSError as error:
        raise InvalidInput(f"{what} cannot be read: {error.strerror or error}") from error


def _decode(file: Any, what: str, least: int) -> Image.Image:
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    if is_heic(file) and "HEIF" not in formats:
        raise InvalidInput(
            f"{what} is a HEIC photo, which is not read here; save or export it as JPEG or PNG first"
        )
    if av1_bits(file) > 8:
        raise InvalidInput(DEEP.format(what=what))
    file.seek(0)
    with _decoding(what), Image.open(file, formats=formats) as image:
        _check(image, what, least)
        ImageOps.exif_transpose(image, in_place=True)  # decodes it, too
        return image


@contextmanager
def _decoding(what: str) -> Iterator[None]:
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
            f"{what} is not an image of a known format; expected JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF"
        ) from error
    except Exception as error:  # decoders of damaged files raise nearly every type there is
        raise InvalidInput(f"{what} cannot be decoded, it is damaged or cut off: {error}") from error


def _check(image: Image.Image, what: str, least: int) -> None:
    """Raise InvalidInput for what can be told from the header, before pixels are decoded."""
    _checked_size(image, what, least)
    if getattr(image, "n_frames", 1) > 1 and image.format not in SEVERAL_FRAMES_ALLOWED:
        raise InvalidInput(f"{what} is animated or has several pages; save the one to use as a still image")
    if image.mode.startswith(("I", "F")) or _has_16_bits(image):
        raise InvalidInput(DEEP.format(what=what))
    if image.mode not in MODES:
        raise InvalidInput(f"{what} is {image.mode}; convert it to RGB, which depends on its colour profile")


def _has_16_bits(image: Image.Image) -> bool:
    # Pillow silently cuts 16-bit RGB files to 8 bits; only the raw mode of the undecoded tile tells.
    arguments = [tile[3] for tile in getattr(image, "tile", [])]
    words = [
        word for argument in arguments for word in (argument if isinstance(argument, tuple) else (argument,))
    ]
    if image.format == "PPM":  # there the tile tells the largest value instead
        return any(isinstance(word, int) and word > 255 for word in words)
    # "BGR;16" is a BMP of 16 bits per pixel: 5 or 6 per channel.
    return any(isinstance(word, str) and re.search("(?<!BGR);16", word) for word in words)


def _checked_size(image: Image.Image, what: str, least: int) -> Image.Image:
    width, height = image.size
    if min(width, height) < least:
        raise InvalidInput(f"{what} is {width}x{height} pixels; at least {least}x{least} are needed")
    if width * height > MAX_PIXELS:
        raise InvalidInput(f"{what} is {width}x{height} pixels; at most {MAX_PIXELS:,} pixels are allowed")
    return image


def _from_array(array: NDArray[Any], what: str) -> Image.Image:
    shape = array.shape
    if array.dtype != np.uint8 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise InvalidInput(
            f"{what} is an array {list(shape)} of {array.dtype}; expected uint8 [H,W], [H,W,3] or [H,W,4]"
        )
    if array.size == 0:
        raise InvalidInput(f"{what} is an empty array {list(shape)}")
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if shape[2:] == (1,) else array))
