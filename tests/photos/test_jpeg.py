"""JPEG files taken apart, whole and cut off."""

import io

import numpy as np
import pytest
from PIL import Image

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos import jpeg
from moebius_edge.photos.options import ReadOptions
from moebius_edge.photos.reading import read_photo
from tests.photos.files import encoded, segment, smooth, with_segments

KINDS = {"baseline": {}, "progressive": {"progressive": True}, "restarts": {"restart_marker_blocks": 3}}


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_sees_the_same_picture_and_no_metadata(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    file = encoded(smooth(), "JPEG", exif=exif, icc_profile=b"p" * 70_000, xmp=b"<x/>", **KINDS[kind])
    parts = jpeg.take_apart(file + b"\0\0\0\x18ftypmp42 a video")
    assert parts.profile == b"p" * 70_000 and parts.xmp == b"<x/>" and b"a camera" in (parts.exif or b"")
    assert parts.ended and parts.behind[4:8] == b"ftyp"
    assert np.array_equal(pixels(parts.picture + jpeg.END), pixels(file))
    assert b"a camera" not in parts.picture and b"ICC_PROFILE" not in parts.picture


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_lacks_only_its_end_marker_is_a_photo(kind: str) -> None:
    file = encoded(smooth(), "JPEG", quality=90, **KINDS[kind])
    photo = read_photo(file[:-2])
    assert np.array_equal(photo.rgb, pixels(file)) and not photo.notes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("end", [b"", jpeg.END], ids=["cut", "cut and ended"])
def test_a_jpeg_that_lacks_pixels_says_how_many(kind: str, mode: str, end: bytes) -> None:
    file = encoded(smooth(256, 128).convert(mode), "JPEG", quality=95, **KINDS[kind])
    if kind == "progressive" and end:
        pytest.skip("its first scans are whole: a picture with less detail")
    start = file.index(b"\xff\xda") + 14
    for share in (0.1, 0.5, 0.9):
        cut = file[: start + int((len(file) - start) * share)] + end
        with pytest.raises(InvalidInput, match=r"cut off: [1-9][0-9]? % of its picture .*--accept-truncated"):
            read_photo(cut)
        photo = read_photo(cut, ReadOptions(accept_truncated=True))
        assert photo.size == (128, 256) and "are missing" in photo.notes[0]
        if kind == "baseline":
            said = int(photo.notes[0].split(" %")[0].split()[-1])
            assert abs(said - 100 * (1 - share)) < 25
            whole = int(256 * (1 - said / 100)) - 24
            assert np.array_equal(photo.rgb[: max(whole, 0)], pixels(file)[: max(whole, 0)])


def test_a_plain_picture_is_whole() -> None:
    for colour in ("white", "#203040"):
        file = encoded(Image.new("RGB", (100, 60), colour), "JPEG")
        assert not read_photo(file).notes and not read_photo(file[:-2]).notes


def test_a_thousand_metadata_segments_are_passed_over() -> None:
    file = encoded(smooth(), "JPEG")
    for body in (b"Exif\0\0II*\0", b"MPF\0II*\0", b"ICC_PROFILE\0\1\xff", b"anything"):
        for marker in (0xE1, 0xE2, 0xED):
            many = with_segments(file, *[segment(marker, body + bytes(2000))] * 1000)
            assert np.array_equal(read_photo(many).rgb, pixels(file))


def test_too_many_segments_or_scans_are_refused() -> None:
    file = encoded(smooth(), "JPEG")
    with pytest.raises(InvalidInput, match="more than 10,000 segments"):
        read_photo(with_segments(file, *[segment(0xE5, b"")] * 10_001))
    scan = file[file.index(b"\xff\xda") : -2]
    with pytest.raises(InvalidInput, match="a JPEG of 101 scans; at most 100"):
        read_photo(file[:-2] + scan * 100 + jpeg.END)


def test_of_several_segments_of_a_kind_the_first_counts() -> None:
    file = encoded(smooth(), "JPEG")
    texts = [segment(jpeg.XMP[0], jpeg.XMP[1] + text) for text in (b"<one/>", b"<two/>")]
    parts = [segment(0xE2, b"ICC_PROFILE\0\1\1" + text) for text in (b"one", b"two")]
    photo = read_photo(with_segments(file, *texts, *parts))
    assert (photo.carried.xmp, photo.profile) == (b"<one/>", b"one")


def test_fill_bytes_before_markers_are_no_segments() -> None:
    file = encoded(smooth(), "JPEG")
    filled = file[:2] + b"\xff" * 3_000_000 + file[2:]
    assert np.array_equal(read_photo(filled).rgb, pixels(file))


def test_parts_that_the_result_lacks_are_named() -> None:
    file = encoded(smooth(), "JPEG")
    motion = b'<x GCamera:MotionPhoto="1"/>'
    cases = {
        with_segments(file, segment(0xE2, b"urn:iso:std:iso:ts:21496:-1\0")): "a gain map",
        encoded(smooth(), "JPEG", xmp=b'<x hdrgm:Version="1.0"/>'): "a gain map",
        encoded(smooth(), "JPEG", xmp=motion): "a video",
        file + b"\0\0\0\x18ftypmp42": "a video",
        encoded(smooth(), "MPO", save_all=True, append_images=[smooth(8, 8)]): "further pictures",
    }
    for data, part in cases.items():
        photo = read_photo(data)
        assert [part in note and "does not have" in note for note in photo.notes] == [True]
        assert photo.carried.xmp is None  # it would speak of what is not there
    assert not read_photo(file).notes


@pytest.mark.parametrize("parts", [(1,), (2, 1, 1), (1, 3)])
def test_a_profile_that_lacks_parts_is_left_out_with_a_note(parts: tuple[int, ...]) -> None:
    segments = [segment(0xE2, b"ICC_PROFILE\0" + bytes((number, 3)) + b"profile") for number in parts]
    photo = read_photo(with_segments(encoded(smooth(), "JPEG"), *segments))
    assert photo.profile is None and "profile of the photo is incomplete" in photo.notes[0]
