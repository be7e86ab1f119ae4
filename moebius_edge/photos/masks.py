"""Tell what a mask marks, and what is wrong with one in its maker's words: what was seen, and what to type.

A mask is a picture of the photo's size in which brightness marks what is to be filled. Most masks that cannot
be used were made for another tool, in one of a few ways, each of which shows in the pixels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Bools, Bytes, Photo
from moebius_edge.inpaint.pixels import brighter
from moebius_edge.photos.limits import decoding
from moebius_edge.photos.options import MaskOptions

HALF = 127.5
ORDER = "The order is BUNDLE PHOTO MASK"
SAME_SHAPE = 0.02  # difference of two aspect ratios, of one
INVERTED = 0.85  # share of the photo: a larger hole is seldom meant, and what it leaves may be
# How a photo is told from a mask, by some of its pixels.
SAMPLE, LEAST = 256, 64  # of a side; smaller masks are not judged
MIDDLE = 0.12, 0.88  # between its darkest and its brightest a mask has such levels along soft edges alone
SHARE = 0.3  # of a photo's pixels have them,
COLOUR = 24  # and its channels differ by so many levels, or it is rough: most pixels are off their neighbours
ALIKE = 12  # levels by which a copy of a photo differs after JPEG


@dataclass(frozen=True)
class Mask:
    """A mask, ready for an edit."""

    hole: Bools  # [H,W], True where the photo is to be filled
    notes: tuple[str, ...] = ()  # what a user should know of it, a sentence each


def interpreted(image: Image.Image, photo: Photo | tuple[int, int], options: MaskOptions) -> Mask:
    """Return what a decoded image marks in a photo, or in one of a size (width, height).

    With a `Photo` it is noticed, too, when the image shows that photo. Raises InvalidInput for what cannot be
    meant as it is.
    """
    size = photo.size if isinstance(photo, Photo) else photo
    image = _fitted(image, size, options)
    with decoding("the mask"):
        alpha = _alpha(image)
        if image.mode in ("P", "PA") or "transparency" in image.info:
            image = image.convert("RGB" if alpha is None else "RGBA")
    if options.mask_from == "alpha":
        if alpha is None:
            raise InvalidInput(
                "the mask has no transparent pixels, and --mask-from alpha fills what is not transparent; "
                "leave it out"
            )
        marked = alpha > HALF
    else:
        if alpha is not None:
            raise InvalidInput(
                f"the mask has transparent pixels ({_percent((alpha < 255).mean())}), and what they mean is "
                "not guessed; if these are strokes on a transparent layer, add --mask-from alpha; else save "
                "it as a black and white image without transparency"
            )
        _refuse_photos(image, photo)
        marked = brighter(image, HALF if options.mask_from == "brightness" else 0)
    hole: Bools = marked if options.polarity == "white" else ~marked
    if not hole.any():
        raise InvalidInput(_nothing_marked(image, options))
    if hole.all():
        raise InvalidInput(
            f"the mask covers the whole photo: all of it is {options.polarity}, which means fill; nothing is "
            "left to fill it from"
        )
    return Mask(hole, _doubts(hole, options))


def of_size(mask: Mask, size: tuple[int, int]) -> Mask:
    """Return a mask that was read for a photo of this size (width, height), else raise InvalidInput."""
    height, width = mask.hole.shape
    if (width, height) != size:
        raise InvalidInput(
            f"the mask was read for a photo of {width}x{height} pixels; this one has {size[0]}x{size[1]}"
        )
    return mask


def _fitted(image: Image.Image, size: tuple[int, int], options: MaskOptions) -> Image.Image:
    """Return the mask at the photo's size; only if it is to be fitted may it have another one."""
    if image.size == size:
        return image
    (width, height), (wide, high) = image.size, size
    same_shape = abs(width * high / (height * wide) - 1) < SAME_SHAPE
    if options.fit_mask and same_shape:
        with decoding("the mask"):
            return image.resize(size, Image.Resampling.NEAREST)
    if image.size == size[::-1]:
        hint = "; turn the mask by 90 degrees, as the photo is shown"
    elif same_shape:
        hint = "; it has the photo's shape: --fit-mask resizes it"
    else:
        hint = "; its shape is another one, so it belongs to another photo, or to a cut of this one"
    raise InvalidInput(
        f"the mask is {width}x{height} pixels and the photo {wide}x{high} (width x height, after any EXIF "
        f"rotation); they must be equal{hint}"
    )


def _alpha(image: Image.Image) -> Bytes | None:
    """Return the alpha [H,W] of an image; None if it is all opaque."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema() == (255, 255) else np.asarray(alpha)


def _refuse_photos(image: Image.Image, photo: Photo | tuple[int, int]) -> None:
    """Refuse a photo in the place of a mask: this one, with or without marks on it, or another."""
    if min(image.size) < LEAST:
        return
    places = [np.linspace(0, side - 1, min(side, SAMPLE)).astype(np.intp) for side in image.size[::-1]]
    mask = _sample(image, places)
    looks = f"{_percent(_middle(mask))} of its pixels are neither black nor white"
    if isinstance(photo, Photo):
        shown = photo.rgb[places[0][:, None], places[1]].astype(np.int16)
        alike = (np.abs(mask - shown).max(axis=2) <= ALIKE).mean()
        if alike > 0.5 and _middle(mask) > SHARE / 3:
            raise InvalidInput(
                f"the mask shows the photo itself ({_percent(alike)} of it is the same), with or without "
                "marks on it; save the marks alone, white on black"
            )
        if _middle(mask) > SHARE and _middle(shown) < SHARE / 10:
            raise InvalidInput(
                f"the mask looks like a photo ({looks}), and the photo like a mask; have they changed "
                f"places? {ORDER}"
            )
    coloured = float((np.ptp(mask, axis=2) > COLOUR).mean()) > SHARE / 3
    rough = float(np.median(np.abs(np.diff(mask, 2, axis=1)))) >= 2
    if _middle(mask) > SHARE and (coloured or rough):
        raise InvalidInput(
            f"the mask looks like a photo: {looks}; a mask is white where the photo is to be filled, and "
            f"black elsewhere. {ORDER}"
        )


def _sample(image: Image.Image, places: list[NDArray[np.intp]]) -> NDArray[np.int16]:
    """Return some of an image's pixels, those in these rows and columns, as RGB [h,w,3]."""
    rows = [
        np.asarray(image.crop((0, y, image.width, y + 1)).convert("RGB"))[0, places[1]] for y in places[0]
    ]
    return np.stack(rows).astype(np.int16)


def _middle(pixels: NDArray[np.int16]) -> float:
    """Return the share of pixels [h,w,3] that are neither black nor white."""
    grey = pixels.mean(axis=2)
    darkest, span = float(grey.min()), float(np.ptp(grey))
    low, high = darkest + MIDDLE[0] * span, darkest + MIDDLE[1] * span
    return float(((grey > low) & (grey < high)).mean())


def _nothing_marked(image: Image.Image, options: MaskOptions) -> str:
    if options.polarity == "black":
        return (
            "the mask is empty: it has no black pixels; white marks what is to be filled without --polarity"
        )
    highest = np.array(image.convert("RGB").getextrema(), int)[:, 1].tolist()  # of red, green and blue
    if max(highest) == 0:
        return "the mask is empty: all of it is black; paint white what is to be filled"
    share = float(brighter(image, 0).mean())
    colour = f"its brightest value is {highest[0]} of 255"
    if len(set(highest)) > 1:
        colour = f"its highest values of red, green and blue are {', '.join(map(str, highest))} of 255"
    return (
        f"the mask is empty: it has no white pixels; {colour}, and {_percent(share)} of it is not black: if "
        "that is to be filled, add --mask-from any"
    )


def _doubts(hole: Bools, options: MaskOptions) -> tuple[str, ...]:
    share = float(hole.mean())
    if share <= INVERTED:
        return ()
    change = "add --polarity black" if options.polarity == "white" else "leave --polarity black out"
    return (f"the mask marks {_percent(share)} of the photo to be filled; if it is inverted, {change}",)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.01 else "below 1 %"
