"""How colours are to be shown: carried, converted or refused, never dropped in silence."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from moebius_edge.common.errors import InvalidInput
from moebius_edge.photos import png
from moebius_edge.photos.colour import is_srgb
from moebius_edge.photos.options import MaskOptions
from moebius_edge.photos.reading import read_mask, read_photo
from moebius_edge.photos.writing import check_kind, save_picture
from tests.photos.files import cmyk_profile, encoded, smooth, with_chunk

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SPECIAL = {
    b"cICP": (bytes((12, 13, 0, 1)), bytes((9, 16, 0, 1)), bytes((1, 8, 0, 1))),
    b"gAMA": (struct.pack(">I", 100_000), struct.pack(">I", 55_555)),
    b"cHRM": (struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000),),
}
SRGB = {
    b"cICP": bytes((1, 13, 0, 1)),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
    b"sRGB": b"\0",
}


def written(source: bytes, output: Path) -> bytes:
    photo = read_photo(source)
    check_kind(photo, output)
    save_picture(photo.with_pixels(photo.rgb), output, photo)
    return output.read_bytes()


@pytest.mark.parametrize(
    ("kind", "contents"), [(kind, each) for kind, many in SPECIAL.items() for each in many]
)
def test_chunks_that_change_colours_stay_in_png_and_are_refused_elsewhere(
    kind: bytes, contents: bytes, tmp_path: Path
) -> None:
    source = with_chunk(kind, contents)
    found = png.take_apart(written(source, tmp_path / "r.png"))
    assert found.chunks[kind] == contents
    assert not is_srgb(kind, contents)
    for suffix in ("jpg", "webp", "tif", "bmp"):
        with pytest.raises(InvalidInput, match=f"{kind.decode()} chunk.*write a .png instead"):
            written(source, tmp_path / f"r.{suffix}")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "bmp"])
@pytest.mark.parametrize("kind", SRGB)
def test_chunks_that_say_srgb_are_no_obstacle(kind: bytes, suffix: str, tmp_path: Path) -> None:
    file = written(with_chunk(kind, SRGB[kind]), tmp_path / f"r.{suffix}")
    assert suffix != "png" or png.take_apart(file).chunks[kind] == SRGB[kind]


@pytest.mark.parametrize("source", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif"])
def test_a_profile_is_carried_between_all_formats_that_have_one(
    source: str, suffix: str, tmp_path: Path
) -> None:
    written(encoded(smooth(), source, icc_profile=PROFILE), tmp_path / f"r.{suffix}")
    with Image.open(tmp_path / f"r.{suffix}") as image:
        assert image.info["icc_profile"] == PROFILE


def test_bmp_refuses_a_profile_as_it_does_transparency(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"BMP cannot keep the photo's colour profile; write a .png"):
        written(encoded(smooth(), icc_profile=PROFILE), tmp_path / "r.bmp")


def test_a_profile_counts_more_than_gamma(tmp_path: Path) -> None:
    source = png.with_chunks(
        encoded(smooth(), icc_profile=PROFILE), [png.chunk(b"gAMA", struct.pack(">I", 100_000))]
    )
    written(source, tmp_path / "r.webp")  # viewers use the profile alone
    assert {b"iCCP", b"gAMA"} <= png.take_apart(written(source, tmp_path / "r.png")).chunks.keys()


def bmp(space: bytes, ends: bytes = bytes(48), profile: bytes = b"", size: int | None = None) -> bytes:
    """A BMP of version 5 that says by `space` what its colours are."""
    pixels = bytes(3 * 16 * 16)
    header = struct.pack("<IiiHHIIiiII", 124, 16, 16, 1, 24, 0, len(pixels), 2835, 2835, 0, 0) + bytes(16)
    length = len(profile) if size is None else size
    header += space + ends + struct.pack("<IIII", 4, 124 + len(pixels), length, 0)
    start = 14 + len(header)
    whole = start + len(pixels) + len(profile)
    return b"BM" + struct.pack("<IHHI", whole, 0, 0, start) + header + pixels + profile


@pytest.mark.parametrize("space", [b"BGRs", b" niW", bytes(4)])
def test_a_bmp_of_srgb_says_nothing_more(space: bytes) -> None:
    photo = read_photo(bmp(space))
    assert photo.profile is None and not photo.notes


def test_a_bmp_may_embed_a_profile() -> None:
    photo = read_photo(bmp(b"DEBM", profile=PROFILE))
    assert photo.profile == PROFILE and not photo.notes


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (bmp(b"DEBM", profile=PROFILE, size=len(PROFILE) + 1), "a profile that cannot be read"),
        (bmp(b"DEBM", profile=PROFILE, size=2**32 - 1), "a profile that cannot be read"),
        (bmp(b"KNIL", profile=b"c:\\p.icm\0"), "a profile in another file"),
        (bmp(bytes(4), ends=b"\x7f" * 48), "primaries and a gamma of its own"),
    ],
)
def test_what_a_bmp_says_of_its_colours_in_other_ways_is_noted(file: bytes, says: str) -> None:
    photo = read_photo(file)
    assert photo.profile is None and says in photo.notes[0] and "left out" in photo.notes[0]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted_through_its_profile(kind: str) -> None:
    image = Image.new("CMYK", (32, 16), (0, 0, 0, 0))
    image.paste((255, 0, 0, 0), (16, 0, 32, 16))
    photo = read_photo(encoded(image, kind, icc_profile=cmyk_profile()))
    assert photo.rgb[4, 4].tolist() == [255, 255, 255]
    red, green, blue = photo.rgb[4, 28].tolist()  # by the numbers alone it would be cyan
    assert red > 100 and green < 30 and blue < 30
    assert photo.profile is None and "converted to sRGB" in photo.notes[0]
    with Image.open(io.BytesIO(encoded(image, kind, icc_profile=cmyk_profile()))) as opened:
        again = read_photo(opened)  # by the caller
    assert np.array_equal(again.rgb, photo.rgb) and again.notes == photo.notes and again.profile is None
    for profile in (None, b"junk", PROFILE):
        with pytest.raises(InvalidInput, match=r"CMYK with.* colour profile.*convert it to RGB"):
            read_photo(encoded(image, kind, icc_profile=profile))
    mirrored = encoded(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), kind, icc_profile=cmyk_profile())
    mask = read_mask(mirrored, (32, 16), MaskOptions("black")).hole
    assert mask[:, :8].all() and not mask[:, 24:].any()


def test_the_code_points_of_an_avif_are_carried_like_those_of_a_png(tmp_path: Path) -> None:
    """AVIF writes 1, 13 (sRGB) itself; its two other points are changed by hand."""
    file = encoded(Image.new("RGB", (16, 16), "#5a5a5a"), "AVIF")
    at = file.index(b"colrnclx") + 8
    wide = file[:at] + struct.pack(">HH", 12, 13) + file[at + 4 :]
    assert read_photo(file).carried.chunks == ()
    assert read_photo(wide).carried.chunks == ((b"cICP", bytes((12, 13, 0, 1))),)
    assert png.take_apart(written(wide, tmp_path / "r.png")).chunks[b"cICP"] == bytes((12, 13, 0, 1))
    with pytest.raises(InvalidInput, match="cICP"):
        written(wide, tmp_path / "r.jpg")


def test_pixels_are_what_they_were(tmp_path: Path) -> None:
    for suffix in ("png", "webp", "tif", "bmp"):
        file = written(encoded(smooth()), tmp_path / f"r.{suffix}")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(file))), np.asarray(smooth()))
