"""Where results are written: writable before the work, whole or not at all, with the mode that was there."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from moebius_edge.common.errors import InvalidInput
from moebius_edge.common.files import check_writable, write_atomically
from moebius_edge.photos.reading import read_photo
from moebius_edge.photos.writing import check_kind, check_place, save_picture
from tests.photos.files import noise, smooth


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kept", [0o600, 0o640, 0o664, 0o444])
def test_a_file_that_exists_keeps_its_mode(kept: int, tmp_path: Path) -> None:
    output = tmp_path / "private.png"
    output.write_bytes(b"old")
    output.chmod(kept)
    photo = read_photo(smooth())
    save_picture(photo.with_pixels(photo.rgb), output, photo)
    assert mode(output) == kept and output.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_files_mode_follows_the_umask(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "new", b"new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o666 & ~umask


@pytest.mark.parametrize("kept", [None, 0o600])
def test_nobody_else_can_read_it_while_it_is_written(
    kept: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "r.png"
    if kept is not None:
        output.write_bytes(b"old")
        output.chmod(kept)
    seen: list[int] = []
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        seen.append(mode(self))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    write_atomically(output, b"new")
    assert seen == [kept if kept is not None else mode(output)]


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


def test_a_file_that_may_not_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.png").write_bytes(b"old")
    monkeypatch.setattr(os, "access", lambda path, how: False)  # root may write all
    with pytest.raises(OSError, match="Permission denied") as caught:
        check_writable(tmp_path / "x.png")
    assert caught.value.filename == str(tmp_path / "x.png")
