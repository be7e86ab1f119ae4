"""Where results are written, and what of a photo each format keeps; how files are, `tests/common` tests."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos.reading import read_photo
from moebius_edge.photos.writing import check_kind, check_place, save_picture
from tests.photos.files import noise, smooth


def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path) -> None:
    for output in (Path("/proc/self/x.png"), Path("/sys/x.png")):
        with pytest.raises(InvalidInput, match=r"x\.png cannot be written: .*; choose another place"):
            check_place(output)
    check_place(tmp_path / "x.png")
    assert not list(tmp_path.iterdir())


def test_a_jpeg_keeps_the_colour_of_every_pixel(tmp_path: Path) -> None:
    photo = read_photo(smooth())
    save_picture(photo.with_pixels(photo.rgb), tmp_path / "r.jpg", photo)
    with Image.open(tmp_path / "r.jpg") as image:
        assert JpegImagePlugin.get_sampling(image) == 0  # 4:4:4
        assert max(image.quantization[0]) < 15, "quality 95 has coarsest steps of 12"


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_lossless_formats_keep_every_byte_also_under_transparency(
    channels: int, suffix: str, tmp_path: Path
) -> None:
    pixels = noise(channels=channels)
    pixels[:8, :, -1] = 0  # of 4 channels: clear
    photo = read_photo(pixels)
    output = tmp_path / f"r.{suffix}"
    check_kind(photo, output)
    save_picture(photo.with_pixels(photo.rgb), output, photo)
    again = read_photo(output)
    assert np.array_equal(again.rgb, photo.rgb)
    assert np.array_equal(again.alpha, photo.alpha) if channels == 4 else again.alpha is None


@pytest.mark.parametrize("suffix", ["jpg", "bmp"])
def test_formats_without_transparency_are_refused(suffix: str) -> None:
    photo = read_photo(noise(channels=4))
    with pytest.raises(InvalidInput, match=r"cannot keep the photo's transparency; write a \.png"):
        check_kind(photo, Path(f"r.{suffix}"))
