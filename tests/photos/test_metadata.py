"""What of a photo's metadata its result has, in every format."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.inpaint.imaging import Carried
from moebius_edge.photos import exif, png
from moebius_edge.photos.metadata import POLICIES, chosen, upright_xmp
from moebius_edge.photos.reading import read_photo
from moebius_edge.photos.writing import left_out, save_picture
from tests.photos.files import TURNS, encoded, segment, smooth, with_chunk, with_segments

SOURCES = ("JPEG", "PNG", "WEBP", "TIFF")
SUFFIXES = ("jpg", "png", "webp", "tif")
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf dc:title="a wren" tiff:Orientation="6"/></x:xmpmeta>'
PLACED = XMP.replace(b"dc:title", b"exif:GPSLatitude")


def camera(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[0x0112], data[0x010F] = orientation, "a camera"
    data.get_ifd(exif.EXIF)[0x9003] = "2026:01:02 03:04:05"
    data.get_ifd(exif.GPS).update({1: "N", 2: (48.0, 51.0, 30.0)})
    return data


def source(kind: str, orientation: int = 1) -> bytes:
    options: dict[str, Any] = {"exif": camera(orientation).tobytes()}
    if kind != "WEBP":
        options["dpi"] = (300, 300)
    return encoded(smooth(), kind, **options)


def result(file: bytes, suffix: str, folder: Path, policy: str = "keep") -> bytes:
    photo = read_photo(file)
    output = folder / f"r.{suffix}"
    save_picture(photo.with_pixels(photo.rgb), output, photo, policy)
    return output.read_bytes()


def exif_of(file: bytes) -> Image.Exif:
    with Image.open(io.BytesIO(file)) as image:
        return image.getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_carried_out_and_reset(kind: str, orientation: int, tmp_path: Path) -> None:
    file = source(kind, orientation)
    stored = np.asarray(read_photo(encoded(smooth(), kind)).rgb)
    upright = Image.fromarray(stored)
    if orientation in TURNS:
        upright = upright.transpose(TURNS[orientation])
    assert np.array_equal(read_photo(file).rgb, np.asarray(upright))
    assert exif_of(result(file, "png", tmp_path)).get(0x0112, 1) == 1


@pytest.mark.parametrize("orientation", range(2, 9))
def test_that_of_a_webp_is_ignored_with_a_note_as_browsers_do(orientation: int) -> None:
    photo = read_photo(encoded(smooth(), "WEBP", lossless=True, exif=camera(orientation).tobytes()))
    assert np.array_equal(photo.rgb, np.asarray(smooth())) and "browsers" in photo.notes[0]


def test_that_of_xmp_is_ignored_as_browsers_do() -> None:
    for file in (
        encoded(smooth(), "JPEG", xmp=XMP),
        with_chunk(b"iTXt", png.XMP + bytes(4) + XMP),
        encoded(smooth(), "WEBP", xmp=XMP),
    ):
        photo = read_photo(file)
        assert photo.size == smooth().size and not photo.notes
        assert photo.carried.xmp == XMP.replace(b'Orientation="6"', b'Orientation="1"')
    image = smooth()
    image.info["xmp"] = XMP
    assert read_photo(image).size == image.size


def test_one_set_by_hand_on_a_pillow_image_is_carried_out() -> None:
    image = smooth()
    image.getexif()[0x0112] = 6
    assert read_photo(image).size == image.size[::-1]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", SOURCES)
def test_keep_keeps_all_but_thumbnail_and_orientation(kind: str, suffix: str, tmp_path: Path) -> None:
    found = exif_of(result(source(kind), suffix, tmp_path))
    assert found[0x010F] == "a camera"
    assert found.get_ifd(exif.EXIF)[0x9003] == "2026:01:02 03:04:05"
    assert found.get_ifd(exif.GPS)[2] == (48.0, 51.0, 30.0)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_location_keeps_all_but_the_place(suffix: str, tmp_path: Path) -> None:
    found = exif_of(result(source("JPEG"), suffix, tmp_path, "no-location"))
    assert found[0x010F] == "a camera" and not found.get_ifd(exif.GPS)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", SOURCES)
def test_none_keeps_nothing_but_how_it_is_shown(kind: str, suffix: str, tmp_path: Path) -> None:
    file = result(source(kind), suffix, tmp_path, "none")
    found = exif_of(file)
    assert 0x010F not in found and not found.get_ifd(exif.GPS) and not found.get_ifd(exif.EXIF)
    with Image.open(io.BytesIO(file)) as image:
        assert "exif" not in image.info and "xmp" not in image.info
        if kind != "WEBP" and suffix != "webp":
            assert [round(float(value)) for value in image.info["dpi"]] == [300, 300]


@pytest.mark.parametrize("suffix", [*SUFFIXES, "bmp"])
@pytest.mark.parametrize("per_metre", [0, 1, 2**32 - 1])
def test_pixels_per_inch_that_no_format_holds_are_left_out(
    per_metre: int, suffix: str, tmp_path: Path
) -> None:
    file = with_chunk(b"pHYs", struct.pack(">IIB", per_metre, per_metre, 1))
    assert read_photo(file).carried.dpi is None
    with Image.open(io.BytesIO(result(file, suffix, tmp_path))) as image:
        assert image.size == smooth().size


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_xmp_goes_with_the_place_that_it_names(suffix: str, tmp_path: Path) -> None:
    for xmp, policy, kept in (
        (XMP, "keep", True), (PLACED, "keep", True), (XMP, "no-location", True),
        (PLACED, "no-location", False), (XMP, "none", False),
    ):  # fmt: skip
        file = result(encoded(smooth(), "JPEG", xmp=xmp), suffix, tmp_path, policy)
        assert (b"xmpmeta" in file) == kept


def test_thumbnails_leave_xmp() -> None:
    assert upright_xmp(b"<a><xmp:Thumbnails><b>/9j/4A</b></xmp:Thumbnails></a>") == b"<a></a>"
    two = b"<xmp:Thumbnails>1</xmp:Thumbnails>"
    assert upright_xmp(b"a" + two + b"b" + two + b"c<xmp:Thumbnails>") == b"abc<xmp:Thumbnails>"
    assert upright_xmp(b" " * (2 << 20)) is None


def test_texts_of_a_png_stay_in_a_png(tmp_path: Path) -> None:
    file = with_chunk(b"tEXt", b"Title\0a wren")
    assert b"a wren" in result(file, "png", tmp_path)
    for policy in ("no-location", "none"):
        assert b"a wren" not in result(file, "png", tmp_path, policy)


def test_what_is_too_large_for_a_jpeg_is_left_out_and_the_picture_written(tmp_path: Path) -> None:
    data = Image.Exif()
    data[0x010E] = "x" * 70_000
    photo = read_photo(encoded(smooth(), exif=data.tobytes()))
    for suffix, says in (("jpg", "JPEG"), ("bmp", "BMP")):
        assert f"EXIF data of the photo are left out: {says}" in left_out(photo, tmp_path / f"r.{suffix}")[0]
    assert not left_out(photo, tmp_path / "r.webp")
    file = result(encoded(smooth(), exif=data.tobytes()), "jpg", tmp_path)
    assert 0x010E not in exif_of(file)
    assert exif_of(result(encoded(smooth(), exif=data.tobytes()), "webp", tmp_path))[0x010E] == "x" * 70_000


def test_exif_data_that_make_no_sense_are_left_out_with_a_note() -> None:
    for junk in (b"Exif\0\0", b"Exif\0\0not a TIFF header", b"Exif\0\0II*\0\xff\xff\xff\xff"):
        photo = read_photo(with_segments(encoded(smooth(), "JPEG"), segment(0xE1, junk)))
        assert photo.carried.exif is None and "EXIF data of the photo cannot be read" in photo.notes[0]


@pytest.mark.parametrize("value", [(-1, 0), (2**31 - 1, 0), (0, 0)])
def test_a_rational_that_is_no_number_is_carried(value: tuple[int, int], tmp_path: Path) -> None:
    """Pillow writes EXIF data anew where it turns a picture, and refuses such a number."""
    entries = struct.pack("<HHHIHH", 2, 0x0112, 3, 1, 6, 0) + struct.pack("<HHII", 0x011A, 10, 1, 38)
    data = b"II*\0\x08\0\0\0" + entries + bytes(4) + struct.pack("<ii", *value)
    photo = read_photo(with_segments(encoded(smooth(), "JPEG"), segment(0xE1, exif.PREFIX + data)))
    assert photo.size == smooth().size[::-1] and not photo.notes
    for suffix in SUFFIXES:
        save_picture(photo.with_pixels(photo.rgb), tmp_path / f"r.{suffix}", photo)
        assert struct.pack("<ii", *value) in (tmp_path / f"r.{suffix}").read_bytes()


def test_a_policy_of_another_name_is_refused() -> None:
    with pytest.raises(InvalidInput, match="metadata is 'some'; expected one of keep, no-location, none"):
        chosen(Carried(), "some", (8, 8))
    for policy in POLICIES:
        assert chosen(Carried(), policy, (8, 8)) == Carried()
