"""Pictures of 16 bits per channel: read whole, and kept outside the hole."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Carried
from moebius_edge.photos import deep, exif, png
from moebius_edge.photos.reading import read_mask, read_photo
from moebius_edge.photos.tiff import tiff_file
from moebius_edge.photos.writing import left_out, save_picture
from tests.photos.files import TURNS, words

CHANNELS = (1, 2, 3, 4)
PHOTOMETRIC = {1: "minisblack", 2: "minisblack", 3: "rgb", 4: "rgb"}


def deep_tiff(pixels: Any, **options: Any) -> bytes:
    """A TIFF by tifffile, which the reader does not use."""
    buffer = io.BytesIO()
    options = {"photometric": PHOTOMETRIC[pixels.shape[2]], "planarconfig": "contig", **options}
    if pixels.shape[2] in (2, 4):
        options["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(buffer, pixels if pixels.shape[2] > 1 else pixels[..., 0], **options)
    return buffer.getvalue()


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_png_is_read_to_the_bit(channels: int) -> None:
    pixels = words(channels)
    photo = read_photo(deep.png_file(pixels, []))
    assert photo.deep is not None and np.array_equal(photo.deep, pixels)
    nearest = np.rint(pixels / 257).astype(np.uint8)
    colour = nearest[..., :3] if channels > 2 else nearest[..., :1].repeat(3, axis=-1)
    assert np.array_equal(photo.rgb, colour)
    assert (photo.alpha is None) == (channels % 2 == 1) and photo.grey == (channels < 3)
    if photo.alpha is not None:
        assert np.array_equal(photo.alpha, nearest[..., -1])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}, {"rowsperstrip": 5}]
)
def test_a_tiff_is_read_to_the_bit(order: Any, channels: int, options: dict[str, Any]) -> None:
    pixels = words(channels)
    photo = read_photo(deep_tiff(pixels, byteorder=order, **options))
    assert photo.deep is not None and np.array_equal(photo.deep, pixels)


@pytest.mark.parametrize("file", [deep_tiff(words(1), photometric="miniswhite"), deep_tiff(words(2))])
def test_other_ways_to_store_16_bits_are_refused(file: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"more than 8 bits|known format"):
        read_photo(file)


def test_planes_of_16_bits_are_not_read_as_planes_of_8() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, words(3).transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
    with pytest.raises(InvalidInput, match="more than 8 bits per channel in a way"):
        read_photo(buffer.getvalue())


@pytest.mark.parametrize("orientation", range(2, 9))
def test_samples_are_turned_like_pixels(orientation: int) -> None:
    data = Image.Exif()
    data[0x0112] = orientation
    chunk = png.chunk(b"eXIf", data.tobytes().removeprefix(exif.PREFIX))
    photo = read_photo(deep.png_file(words(3), [chunk]))
    assert photo.deep is not None and np.array_equal(deep.to_bytes(photo.deep), photo.rgb)
    upright = Image.fromarray(deep.to_bytes(words(3))).transpose(TURNS[orientation])
    assert np.array_equal(photo.rgb, np.asarray(upright))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_is_alpha(channels: int) -> None:
    pixels = words(channels)
    key = pixels[3, 4].astype(">u2").tobytes()
    photo = read_photo(deep.png_file(pixels, [png.chunk(b"tRNS", key)]))
    assert photo.alpha is not None and photo.alpha[3, 4] == 0 and (photo.alpha > 0).mean() > 0.9


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_the_result_has_16_bits_outside_the_hole(suffix: str, channels: int, tmp_path: Path) -> None:
    photo = read_photo(deep.png_file(words(channels), []))
    rgb = photo.rgb.copy()
    rgb[5:9, 6:12] = 255 - rgb[5:9, 6:12]
    output = tmp_path / f"r.{suffix}"
    save_picture(photo.with_pixels(rgb), output, photo)
    if suffix == "tif":
        with tifffile.TiffFile(output) as file:
            found = file.asarray().reshape(words(channels).shape)
    else:
        again = read_photo(output).deep
        assert again is not None
        found = again
    hole = np.zeros(found.shape[:2], bool)
    hole[5:9, 6:12] = True
    assert found.dtype == np.uint16 and np.array_equal(found[~hole], words(channels)[~hole])
    colours = 3 if channels > 2 else 1
    assert np.array_equal(found[hole][:, :colours], rgb[hole][:, :colours] * np.uint16(257))
    if channels in (2, 4):
        assert np.array_equal(found[..., -1], words(channels)[..., -1])


def test_other_formats_get_8_bits(tmp_path: Path) -> None:
    photo = read_photo(deep.png_file(words(3), []))
    save_picture(photo.with_pixels(photo.rgb), tmp_path / "r.webp", photo)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "r.webp")), photo.rgb)


@pytest.mark.parametrize(("suffix", "says"), [("jpg", "JPEG"), ("webp", "WEBP"), ("png", ""), ("tif", "")])
def test_16_bits_that_a_format_does_not_keep_are_named(suffix: str, says: str) -> None:
    notes = left_out(read_photo(deep.png_file(words(3), [])), Path(f"r.{suffix}"))
    assert bool(notes) == bool(says) and all(f"8 are kept in {says}" in note for note in notes)


def test_a_mask_may_have_16_bits() -> None:
    mask = np.zeros((24, 32, 1), np.uint16)
    mask[2:5, 3:9] = 65535
    assert np.array_equal(read_mask(deep.png_file(mask, []), (32, 24)).hole, mask[..., 0] > 0)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_written_tiff_is_what_others_read(channels: int, kind: Any) -> None:
    pixels = words(channels, 700, 300).astype(kind)  # several strips
    carried = Carried(dpi=(300, 150), xmp=b"<x/>")
    with tifffile.TiffFile(io.BytesIO(tiff_file(pixels, b"a profile", carried))) as file:
        page = file.pages[0]
        assert np.array_equal(page.asarray().reshape(pixels.shape), pixels)
        assert page.tags[34675].value == b"a profile" and page.tags[700].value == b"<x/>"
        assert page.tags["XResolution"].value == (30000, 100)
        assert page.photometric.name == ("RGB" if channels > 2 else "MINISBLACK")


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    header = bytearray(deep.png_file(words(3), []))
    header[16:24] = (10_000).to_bytes(4, "big") * 2
    header[29:33] = png.chunk(b"IHDR", bytes(header[16:29]))[-4:]
    with pytest.raises(InvalidInput, match="10000x10000 pixels with more than 8 bits per channel; at most"):
        read_photo(bytes(header))
