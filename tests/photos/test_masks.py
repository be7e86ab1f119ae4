"""Masks that were made for another tool, by another reading of the word, or by mistake; and right ones."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Photo
from moebius_edge.inpaint.masks import draw_mask
from moebius_edge.photos.options import MaskOptions
from moebius_edge.photos.reading import read_mask, read_photo

SIDE = 128
Pixels = NDArray[np.uint8]


@cache
def scene(seed: int = 0) -> Photo:
    """A photo's likeness: smooth colours with texture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.int16)
    return Photo(np.clip(smooth + rng.normal(0, 9, smooth.shape), 0, 255).astype(np.uint8))


def hole(share: float = 0.1, seed: int = 1) -> NDArray[np.bool_]:
    return draw_mask(np.random.default_rng(seed), SIDE, (share, 1.3 * share))


def grey(values: NDArray[np.generic]) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8))


def coloured(colour: tuple[int, int, int]) -> Image.Image:
    return Image.fromarray(np.where(hole()[..., None], np.uint8(colour), np.uint8(0)))


def voc() -> Image.Image:
    """A palette image, as segmentation data sets have them: class 1 is dark red."""
    image = grey(hole()).convert("P")
    image.putpalette([0, 0, 0, 128, 0, 0] + [0] * 750)
    return image


def on_transparent(colour: tuple[int, int, int]) -> Image.Image:
    image = Image.new("RGBA", (SIDE, SIDE), (*colour, 0))
    image.putalpha(grey(hole() * 255))
    return image


def painted(colour: tuple[int, int, int], seed: int = 0) -> Image.Image:
    return Image.fromarray(np.where(hole()[..., None], np.uint8(colour), scene(seed).rgb))


def photo_as_mask(seed: int, mode: str = "RGB") -> Image.Image:
    return Image.fromarray(scene(seed).rgb).convert(mode)


WRONG: dict[str, tuple[Callable[[], Image.Image], str]] = {
    "0 and 1": (lambda: grey(hole()), r"brightest value is 1 of 255, and 1\d % of it .* --mask-from any"),
    "class 7 of 255": (lambda: grey(hole() * 7), r"brightest value is 7 of 255.* --mask-from any"),
    "half bright": (lambda: grey(hole() * 127), "brightest value is 127 of 255.* --mask-from any"),
    "red": (lambda: coloured((255, 0, 0)), "red, green and blue are 255, 0, 0 of 255.* --mask-from any"),
    "blue": (lambda: coloured((0, 0, 255)), "red, green and blue are 0, 0, 255.* --mask-from any"),
    "dark green": (lambda: coloured((0, 128, 0)), "red, green and blue are 0, 128, 0.* --mask-from any"),
    "palette of classes": (voc, "red, green and blue are 128, 0, 0.* --mask-from any"),
    "all black": (lambda: grey(hole() * 0), "all of it is black; paint white"),
    "all white": (lambda: grey(hole() * 0 + 255), "covers the whole photo: all of it is white"),
    "strokes on transparent": (lambda: on_transparent((255, 255, 255)), "--mask-from alpha"),
    "red strokes on transparent": (lambda: on_transparent((255, 0, 0)), "--mask-from alpha"),
    "black strokes on transparent": (lambda: on_transparent((0, 0, 0)), "--mask-from alpha"),
    "painted on the photo, white": (lambda: painted((255, 255, 255)), "shows the photo itself"),
    "painted on the photo, red": (lambda: painted((255, 0, 0)), "shows the photo itself"),
    "painted on the photo, black": (lambda: painted((0, 0, 0)), "shows the photo itself"),
    "the photo": (lambda: photo_as_mask(0), "shows the photo itself .100 %"),
    "another photo": (lambda: photo_as_mask(2), "looks like a photo: .* The order is BUNDLE PHOTO MASK"),
    "another photo, grey": (lambda: photo_as_mask(2, "L"), "looks like a photo: .* The order is"),
    "another photo, of few colours": (lambda: photo_as_mask(3).quantize(32), "looks like a photo"),
    "double size": (lambda: grey(hole() * 255).resize((256, 256)), "256x256.*128x128.*--fit-mask"),
    "half size": (lambda: grey(hole() * 255).resize((64, 64)), "64x64 .*--fit-mask resizes it"),
    "another shape": (lambda: grey(hole() * 255).resize((128, 120)), "its shape is another one"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_mask_is_answered_by_what_was_seen_and_what_to_do(name: str) -> None:
    make, says = WRONG[name]
    with pytest.raises(InvalidInput, match=says) as caught:
        read_mask(make(), scene())
    assert str(caught.value).startswith("the mask ") and "\n" not in str(caught.value)


def test_a_mask_as_the_camera_stored_the_photo_is_told_to_turn() -> None:
    with pytest.raises(InvalidInput, match="turn the mask by 90 degrees"):
        read_mask(Image.new("L", (SIDE, SIDE + 1)), (SIDE + 1, SIDE))


def test_photo_and_mask_that_changed_places_are_noticed() -> None:
    with pytest.raises(InvalidInput, match="and the photo like a mask; have they changed places"):
        read_mask(photo_as_mask(0), read_photo(grey(hole() * 255)))


@pytest.mark.parametrize("polarity", ["white", "black"])
def test_an_inverted_mask_is_filled_with_a_note(polarity: str) -> None:
    marked = hole() if polarity == "black" else ~hole()
    result = read_mask(
        grey(~marked * 255 if polarity == "black" else marked * 255), scene(), MaskOptions(polarity)
    )
    assert len(result.notes) == (polarity == "white")
    if result.notes:
        assert "of the photo to be filled; if it is inverted, add --polarity black" in result.notes[0]


def test_what_the_messages_say_to_type_works() -> None:
    expected = hole()
    for name in ("0 and 1", "class 7 of 255", "red", "blue", "dark green", "palette of classes"):
        found = read_mask(WRONG[name][0](), scene(), MaskOptions(mask_from="any"))
        assert np.array_equal(found.hole, expected), name
    for colour in ((255, 255, 255), (255, 0, 0), (0, 0, 0)):
        found = read_mask(on_transparent(colour), scene(), MaskOptions(mask_from="alpha"))
        assert np.array_equal(found.hole, expected)
    large = grey(expected * 255).resize((3 * SIDE, 3 * SIDE), Image.Resampling.NEAREST)
    assert np.array_equal(read_mask(large, scene(), MaskOptions(fit_mask=True)).hole, expected)


def test_strokes_count_from_half_of_their_opacity_on() -> None:
    image = Image.new("RGBA", (SIDE, SIDE))
    levels = np.zeros((SIDE, SIDE), np.uint8)
    levels[:2] = 127
    levels[2:4] = 128
    image.putalpha(grey(levels))
    found = read_mask(image, scene(), MaskOptions(mask_from="alpha")).hole
    assert np.array_equal(found, levels == 128)


def test_what_is_asked_for_must_be_there() -> None:
    with pytest.raises(InvalidInput, match="no transparent pixels, and --mask-from alpha"):
        read_mask(grey(hole() * 255), scene(), MaskOptions(mask_from="alpha"))
    with pytest.raises(InvalidInput, match="its shape is another one"):
        read_mask(grey(hole() * 255).resize((128, 64)), scene(), MaskOptions(fit_mask=True))
    with pytest.raises(InvalidInput, match="mask_from is 'colour'; expected one of brightness, any, alpha"):
        MaskOptions(mask_from="colour")


@pytest.mark.parametrize("kind", ["sharp", "soft", "JPEG", "grown", "grey levels"])
def test_no_false_alarm_on_right_masks(kind: str, tmp_path: Path) -> None:
    for seed in range(40):
        marked = hole(np.random.default_rng(seed).uniform(0.01, 0.5), seed)
        image = grey(marked * 255)
        if kind == "soft":
            image = image.filter(ImageFilter.GaussianBlur(1 + seed / 4))
        if kind == "JPEG":
            image.save(tmp_path / "mask.jpg", quality=50)
            image = Image.open(tmp_path / "mask.jpg")
        if kind == "grown":
            image = image.filter(ImageFilter.MaxFilter(2 * (seed % 9) + 1))
        if kind == "grey levels":  # not quite black, not quite white
            image = Image.eval(image, lambda value: 20 + value * 200 // 255)
        if not (np.asarray(image) > 127).any():
            continue  # blurred away
        assert read_mask(image, scene(seed % 3)).notes == (), seed


def test_arrays_of_bools_and_shares() -> None:
    expected = hole()
    for values in (
        expected,
        expected.astype(np.float32),
        expected.astype(np.int64),
        expected * np.uint8(255),
    ):
        assert np.array_equal(read_mask(values, scene()).hole, expected)


def test_a_mask_is_read_for_one_size() -> None:
    mask = read_mask(hole(), scene())
    assert read_mask(mask, scene()) is mask
    with pytest.raises(InvalidInput, match="read for a photo of 128x128 pixels; this one has 64x128"):
        read_mask(mask, (64, 128))
