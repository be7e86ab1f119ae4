"""Photos and masks of every kind: read rightly or refused with a clear error."""

import contextlib
import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, TiffImagePlugin, TiffTags

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import to_tensor
from moebius_edge.photos.isobmff import av1_bits
from moebius_edge.photos.limits import MAX_PIXELS
from moebius_edge.photos.options import MaskOptions
from moebius_edge.photos.reading import read_mask, read_photo


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def raw_png(width: int, height: int, bits: int, colour: int, rows: bytes = b"") -> bytes:
    """A PNG with any header, also those that Pillow does not write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def colours(height: int = 24, width: int = 32) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)


def with_transparency(mode: str, value: Any) -> Image.Image:
    image = Image.new(mode, (16, 16))
    image.info["transparency"] = value
    return image


def bmp565(red: int, green: int, blue: int) -> bytes:
    """An 8x8 BMP of one colour, 5, 6 and 5 bits per channel, which Pillow does not write."""
    pixels = struct.pack("<H", red << 11 | green << 5 | blue) * 64
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    header = struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 16, 3, len(pixels), 0, 0, 0, 0) + masks
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + header + pixels


def same(image: Image.Image, mode: str = "RGB") -> Any:
    return np.asarray(image.convert(mode))


def test_all_kinds_of_source_give_the_same_photo(tmp_path: Path) -> None:
    image = colours()
    path = tmp_path / "photo.png"
    image.save(path)
    for source in (path, str(path), path.read_bytes(), image, np.asarray(image)):
        photo = read_photo(source)
        assert np.array_equal(photo.rgb, same(image)) and photo.size == (32, 24)
        assert photo.alpha is None and not photo.grey


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_applied(orientation: int) -> None:
    image, exif = colours(), Image.Exif()
    exif[0x0112] = orientation
    photo = read_photo(encoded(image, exif=exif.tobytes()))
    upright = {
        1: image,
        2: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: image.transpose(Image.Transpose.ROTATE_180),
        4: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: image.transpose(Image.Transpose.TRANSPOSE),
        6: image.transpose(Image.Transpose.ROTATE_270),
        7: image.transpose(Image.Transpose.TRANSVERSE),
        8: image.transpose(Image.Transpose.ROTATE_90),
    }[orientation]
    assert np.array_equal(photo.rgb, np.asarray(upright))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_the_result_has_the_photos_kind(mode: str) -> None:
    image = colours()
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(np.arange(24 * 32, dtype=np.uint8).reshape(24, 32)))
    image = image.convert(mode)
    photo = read_photo(encoded(image))
    result = photo.with_pixels(photo.rgb)
    assert result.mode == {"1": "L", "P": "RGB"}.get(mode, mode)
    assert np.array_equal(np.asarray(result), same(image, result.mode))


def test_every_grey_level_survives() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    photo = read_photo(levels)
    assert photo.grey and np.array_equal(np.asarray(photo.with_pixels(photo.rgb)), levels)


def test_a_palettes_transparency_is_alpha() -> None:
    image = colours().quantize(16)
    photo = read_photo(encoded(image, transparency=3))
    assert photo.alpha is not None
    assert np.array_equal(photo.alpha == 0, np.asarray(image) == 3)


def test_the_colour_profile_is_carried_to_the_result() -> None:
    photo = read_photo(encoded(colours(), icc_profile=b"a profile"))
    assert photo.with_pixels(photo.rgb).info["icc_profile"] == b"a profile"


def test_date_place_and_camera_stay_behind() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.DateTime] = "a phone", "2026:01:02 03:04:05"
    photo = read_photo(encoded(colours(), "JPEG", exif=exif))
    result = photo.with_pixels(photo.rgb)
    assert not result.getexif() and "exif" not in result.info


def test_a_phones_jpeg_with_a_second_picture_is_a_photo() -> None:
    data = encoded(colours(), "MPO", save_all=True, append_images=[colours(8, 8)])
    assert read_photo(data).size == (32, 24)


def test_an_avif_of_8_bits_is_a_photo() -> None:
    assert (
        np.abs(read_photo(encoded(Image.new("RGB", (16, 16), "#5a5a5a"), "AVIF")).rgb.astype(int) - 90).max()
        <= 2
    )


def boxed(name: bytes, contents: bytes, size: int = -1) -> bytes:
    return struct.pack(">I", len(contents) + 8 if size < 0 else size) + name + contents


AV1C = b"av1C\x81\x00"


@pytest.mark.parametrize(
    ("data", "bits"),
    [
        (boxed(b"free", bytes(9)) + boxed(b"meta", AV1C + b"\x4c"), 10),
        (boxed(b"meta", AV1C + b"\x0c" + AV1C + b"\x6c"), 12),
        (boxed(b"free", struct.pack(">Q", 24) + bytes(8), 1) + boxed(b"meta", AV1C + b"\x40"), 10),
        (boxed(b"meta", AV1C), 8),
        (boxed(b"free", bytes(20), 0) + boxed(b"meta", AV1C + b"\x4c"), 8),  # 0: the box has no end
        (boxed(b"free", bytes(20), 1 << 31), 8),
        (boxed(b"free", b"") * 10_000 + boxed(b"meta", AV1C + b"\x4c"), 8),
        (b"", 8),
    ],
)
def test_the_depth_is_found_among_any_boxes(data: bytes, bits: int) -> None:
    assert av1_bits(io.BytesIO(data)) == bits


def test_a_profile_of_an_impossible_type_is_none() -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags.tagtype[34675], tags[34675] = TiffTags.ASCII, "profile"
    photo = read_photo(encoded(colours(), "TIFF", tiffinfo=tags))
    assert photo.profile is None and np.array_equal(photo.rgb, same(colours()))


def test_a_16_bit_bmp_has_5_or_6_bits_per_channel() -> None:
    assert (read_photo(bmp565(31, 63, 0)).rgb == [255, 255, 0]).all()


def test_pixels_become_minus_one_to_one() -> None:
    tensor = to_tensor(np.array([[[0, 255, 51]]], np.uint8))
    assert tensor.shape == (1, 3, 1, 1) and tensor.dtype == np.float32
    assert np.allclose(tensor.ravel(), [-1, 1, -0.6])


BAD_PHOTOS: dict[str, tuple[Any, str]] = {
    "1x1": (encoded(Image.new("RGB", (1, 1))), "1x1 pixels; at least 8x8"),
    "truncated PNG": (encoded(colours(200, 200))[:9000], "damaged or cut off"),
    "truncated JPEG": (encoded(colours(200, 200), "JPEG")[:5000], "cut off: 8[0-9] %.*--accept-truncated"),
    "header only": (encoded(colours())[:40], "known format|damaged or cut off"),
    "16-bit PPM": (b"P6 16 16 65535\n" + bytes(16 * 16 * 6), "more than 8 bits"),
    "10-bit PPM": (b"P6 16 16 1023\n" + bytes(16 * 16 * 6), "more than 8 bits"),
    "palette too short": (with_transparency("P", bytes(300)), "damaged or cut off"),
    "impossible transparent colour": (with_transparency("L", "x"), "damaged or cut off"),
    "float TIFF": (encoded(Image.new("F", (16, 16)), "TIFF"), "more than 8 bits"),
    "CMYK": (encoded(Image.new("CMYK", (16, 16)), "JPEG"), "CMYK without a colour profile.*convert it"),
    "animated GIF": (encoded(colours(), "GIF", save_all=True, append_images=[colours(24, 32).rotate(90)]),
                     "animated"),
    "animated PNG": (encoded(colours(), save_all=True, append_images=[colours().rotate(180)]), "animated"),
    "animated WebP": (encoded(colours(), "WEBP", save_all=True, append_images=[colours().rotate(180)]),
                      "animated"),
    "decompression bomb": (raw_png(50_000, 50_000, 8, 2), "too large|at most"),
    "large": (raw_png(13_000, 12_000, 8, 2), f"at most {MAX_PIXELS:,} pixels"),
    "text": (b"not an image", "not an image of a known format"),
    "nothing": (b"", "not an image of a known format"),
    "EPS": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not an image of a known"),
    "float array": (np.zeros((9, 9, 3), np.float32), "of float32; expected uint8"),
    "five channels": (np.zeros((9, 9, 5), np.uint8), "expected uint8"),
    "empty array": (np.zeros((0, 9, 3), np.uint8), "empty array"),
    "a number": (7, "is a int; expected a path"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_PHOTOS)
def test_a_bad_photo_is_refused(name: str) -> None:
    source, says = BAD_PHOTOS[name]
    with pytest.raises(InvalidInput, match=says) as caught:
        read_photo(source)
    assert "the photo" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "name",
    [
        "impossible transparent colour",
        "truncated PNG",
        "CMYK",
        "animated GIF",
        "decompression bomb",
    ],
)
def test_a_bad_mask_is_refused(name: str) -> None:
    source, says = BAD_PHOTOS[name]
    with pytest.raises(InvalidInput, match=says):
        read_mask(source, (16, 16))


def test_paths_that_are_no_photo(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"missing\.png does not exist"):
        read_photo(tmp_path / "missing.png")
    with pytest.raises(InvalidInput, match="is a folder"):
        read_photo(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInput, match="not a file"):
        read_photo(tmp_path / "pipe")
    (tmp_path / "text.jpg").write_text("hello")
    with pytest.raises(InvalidInput, match=r"text\.jpg is not an image"):
        read_photo(tmp_path / "text.jpg")


@given(length=st.integers(0, 1499), flip=st.integers(0, 1499))
def test_a_damaged_file_never_raises_anything_else(length: int, flip: int) -> None:
    data = bytearray(encoded(colours(20, 20)))
    data[flip % len(data)] ^= 0x55
    for damaged in (bytes(data), bytes(data[: length % len(data)])):
        with contextlib.suppress(InvalidInput):
            read_photo(damaged)


def test_a_mask_is_what_is_brighter_than_the_middle() -> None:
    levels = np.array([[0, 127, 128, 255]], np.uint8).repeat(8, 0)
    assert read_mask(levels, (4, 8)).hole.tolist() == [[False, False, True, True]] * 8
    assert read_mask(levels, (4, 8), MaskOptions("black")).hole.tolist() == [[True, True, False, False]] * 8


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
def test_masks_of_every_kind(mode: str) -> None:
    expected = np.zeros((12, 16), bool)
    expected[3:7, 2:9] = True
    image = Image.fromarray(expected.astype(np.uint8) * 255).convert(mode)
    assert np.array_equal(read_mask(encoded(image), (16, 12)).hole, expected)
    assert np.array_equal(read_mask(expected, (16, 12)).hole, expected)


def test_a_masks_transparency_is_not_guessed() -> None:
    image = Image.new("RGBA", (16, 12), (255, 255, 255, 255))
    image.putpixel((3, 3), (0, 0, 0, 0))
    with pytest.raises(
        InvalidInput, match=r"transparent pixels \(below 1 %\), and what .* --mask-from alpha"
    ):
        read_mask(image, (16, 12))


@pytest.mark.parametrize(("value", "polarity", "says"), [
    (0, "white", "mask is empty: all of it is black; paint white"),
    (255, "black", "mask is empty: it has no black pixels; white marks .* without --polarity"),
    (255, "white", "covers the whole photo"),
    (0, "black", "covers the whole photo"),
])  # fmt: skip
def test_empty_and_full_masks_are_refused(value: int, polarity: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read_mask(np.full((8, 8), value, np.uint8), (8, 8), MaskOptions(polarity))


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(InvalidInput, match="mask is 16x12 pixels and the photo 12x16"):
        read_mask(np.zeros((12, 16), np.uint8), (12, 16))


def test_a_mask_as_the_camera_stored_the_photo_is_told_to_turn() -> None:
    for size, says in (((12, 16), True), ((12, 17), False)):
        with pytest.raises(InvalidInput) as caught:
            read_mask(np.zeros((12, 16), np.uint8), size)
        assert ("turn the mask by 90 degrees" in str(caught.value)) is says


def test_a_photo_that_was_read_is_edited_once() -> None:
    photo = read_photo(colours())
    taken = read_photo(photo)
    taken.rgb[:] = 0  # as an edit does
    with pytest.raises(InvalidInput, match="was edited before, in its own pixels; read it again"):
        read_photo(photo)
