"""Read photos and masks, and refuse what cannot be used before any work.

A photo is read as 8-bit RGB, upright by its EXIF orientation; grey stays grey, and what else the file holds
is carried to the result (docs/photos.md).
"""

import io
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput, MoebiusError
from moebius_edge.inpaint.imaging import Carried, Photo
from moebius_edge.inpaint.pixels import rgb_of
from moebius_edge.photos import exif
from moebius_edge.photos.decoded import Decoded, Request, describe, dots_per_inch, turned, without_cmyk
from moebius_edge.photos.decoding import decode
from moebius_edge.photos.limits import MIN_SIDE, check, check_size, decoding
from moebius_edge.photos.masks import Mask, interpreted, of_size
from moebius_edge.photos.options import MaskOptions, ReadOptions

Source = str | Path | bytes | Image.Image | NDArray[Any] | Photo

PLAIN = MaskOptions()
SUFFIXES = (".jpeg", ".jpg", ".png", ".webp")  # of the photos in a folder


def photo_files(
    folder: Path, error: type[MoebiusError] = InvalidInput, suffixes: Collection[str] = SUFFIXES
) -> list[Path]:
    """List the photos in a folder by name: its files that end in one of `suffixes`.

    Raises `error` when there is none or the folder cannot be read.
    """
    found = pictures_in(folder, error, suffixes)
    if not found:
        raise error(f"{folder} holds no photo; expected files ending in {', '.join(sorted(suffixes))}")
    return found


def pictures_in(folder: Path, error: type[MoebiusError], suffixes: Collection[str]) -> list[Path]:
    """List the pictures in a folder as `photo_files` does; there may be none."""
    try:
        return sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in suffixes and not path.name.startswith(".")  # macOS leaves "._NAME"
        )
    except OSError as reason:
        raise error(f"cannot read the folder {folder}: {reason.strerror or reason}") from reason


def read_photo(source: Source, options: ReadOptions = ReadOptions()) -> Photo:
    """Read a photo from a path, the bytes of a file, a Pillow image or a uint8 array [H,W], [H,W,3], [H,W,4].

    A `Photo` hands its pixels over, once: an edit writes into them. Raises InvalidInput: handed over before,
    not there, not an image, damaged, lacking pixels, more than 8 bits per channel but in PNG and TIFF,
    animated, CMYK without a profile, a side below `MIN_SIDE` pixels, more than `MAX_PIXELS`.
    """
    if isinstance(source, Photo):
        return _taken(source)
    found = _read(source, Request("the photo", MIN_SIDE, options))
    image = found.image
    with decoding("the photo"):  # a palette or a transparent colour may be impossible
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        pixels = rgb_of(image)
    alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
    grey = image.mode in ("1", "L", "LA")
    return Photo(pixels, alpha, grey, found.profile, found.deep, found.carried, tuple(found.notes))


def _taken(photo: Photo) -> Photo:
    """Return the photo as the only one that may write into its pixels: a copy could be 400 MB."""
    if not photo.rgb.flags.writeable:
        raise InvalidInput("the photo was edited before, in its own pixels; read it again for another edit")
    taken = replace(photo, rgb=photo.rgb.view())
    photo.rgb.flags.writeable = False
    return taken


def read_mask(source: Source | Mask, photo: Photo | tuple[int, int], options: MaskOptions = PLAIN) -> Mask:
    """Read a mask: what is to be filled of a photo, or of one of a size (width, height).

    `source` is as for `read_photo`, or an array of bools, or of numbers from 0 to 1; a `Mask` has been read.
    Raises InvalidInput for what `read_photo` raises it for, and for a mask that cannot be meant as it is; the
    message names what was seen and what to do (`moebius_edge.photos.masks`).
    """
    if isinstance(source, Mask):
        return of_size(source, photo.size if isinstance(photo, Photo) else photo)
    if isinstance(source, np.ndarray):
        source = _mask_array(source)
    return interpreted(_read(source, Request("the mask", 1, ReadOptions())).image, photo, options)


def _mask_array(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of 0 to 255 for one of bools, or of numbers from 0 to 1."""
    if array.dtype == np.bool_ or (array.dtype.kind in "iuf" and array.size and _is_share(array)):
        return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    return array


def _is_share(array: NDArray[Any]) -> bool:
    return bool(array.min() >= 0 and array.max() <= 1)  # not so for NaN


def _read(source: Source, request: Request) -> Decoded:
    what = request.what
    if isinstance(source, np.ndarray):
        return Decoded(_from_array(source, request))
    if isinstance(source, Image.Image):
        with decoding(what):
            return _from_image(source, request)
    if isinstance(source, bytes | bytearray):
        return decode(io.BytesIO(source), request)
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
            return decode(file, replace(request, what=what))
    except OSError as error:
        raise InvalidInput(f"{what} cannot be read: {error.strerror or error}") from error


def _from_image(image: Image.Image, request: Request) -> Decoded:
    """Read what Pillow has of an image that the caller opened or made."""
    what = request.what
    check(image, what, request.least, first_frame=request.options.first_frame, deep_too=False)
    image.load()
    data, profile = image.info.get("exif"), image.info.get("icc_profile")
    # Without EXIF data as a file has them, an orientation may have been set by hand; XMP's is not one.
    by_hand = not data and "xmp" not in image.info and "XML:com.adobe.xmp" not in image.info
    orientation = image.getexif().get(exif.ORIENTATION, 1) if by_hand else exif.orientation(data or b"")
    found = Decoded(turned(image, orientation), carried=Carried(dpi=dots_per_inch(image.info.get("dpi"))))
    found.profile = profile if isinstance(profile, bytes) and profile else None
    without_cmyk(found, what)
    xmp = image.info.get("xmp")
    describe(found, what, data if isinstance(data, bytes) else None, xmp if isinstance(xmp, bytes) else None)
    return found


def _from_array(array: NDArray[Any], request: Request) -> Image.Image:
    shape, what = array.shape, request.what
    if array.dtype != np.uint8 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in (1, 3, 4)):
        raise InvalidInput(
            f"{what} is an array {list(shape)} of {array.dtype}; expected uint8 [H,W], [H,W,3] or [H,W,4]"
        )
    if array.size == 0:
        raise InvalidInput(f"{what} is an empty array {list(shape)}")
    check_size((shape[1], shape[0]), what, request.least)
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if shape[2:] == (1,) else array))
