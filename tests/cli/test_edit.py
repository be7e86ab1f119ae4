"""`inpaint` and `demo`: the pictures they write, and what they refuse to write."""

import errno
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from moebius_edge.cli import demo, edit
from moebius_edge.inpaint.imaging import Photo
from moebius_edge.inpaint.options import OPTION_NAMES, InpaintOptions
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos import deep, png
from moebius_edge.photos.reading import read_photo

FAST = ("--steps", 2, "--threads", 1)


def pixels(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_fills_the_hole_and_leaves_the_rest(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    result = tmp_path / "result.png"
    answer = moebius("inpaint", exported, photo, mask, "-o", result, *FAST)
    assert answer.code == 0 and answer.out == f"wrote {result} (80x72)\n"
    before, after, hole = pixels(photo), pixels(result), pixels(mask)[..., 0] > 127
    assert (before[hole] != after[hole]).any()
    rows, columns = np.nonzero((before != after).any(axis=-1))
    assert rows.min() >= 22 and rows.max() < 48 and columns.min() >= 26 and columns.max() < 54
    assert np.array_equal(after, np.asarray(Inpainter.load(exported)(photo, mask, steps=2)))


def test_every_option_reaches_the_loop(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}

    def note(self: Inpainter, source: Photo, hole: Path, **options: Any) -> Image.Image:
        options.pop("progress")
        seen.update(options)
        return source.with_pixels(source.rgb)

    monkeypatch.setattr(Inpainter, "__call__", note)
    given = {
        "steps": 7, "guidance": 3.5, "strength": 0.5, "seed": 2**64 - 1, "noise_offset": 0.0,
        "mode": "published", "polarity": "black", "dilate": 3, "margin": 0.5, "refine": 0.25,
        "feather": 0, "blend": "feather",
    }  # fmt: skip
    words = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", value)]
    answer = moebius(
        "inpaint",
        exported,
        photo,
        mask,
        "-o",
        tmp_path / "x.png",
        *words,
        "--together",
        "--compensate",
        "--no-paste",
    )
    assert answer.code == 0, answer.err
    assert seen == {**given, "together": True, "compensate": True, "paste": False}
    assert set(seen) == set(OPTION_NAMES)
    seen.clear()
    assert moebius("inpaint", exported, photo, mask, "-o", tmp_path / "x.png").code == 0
    assert seen == {}  # nothing given: the bundle's defaults


def test_help_states_the_defaults() -> None:
    parameters = inspect.signature(edit.inpaint).parameters
    words = {True: "yes", False: "no"}
    for name in set(OPTION_NAMES) - {"steps", "guidance", "strength", "noise_offset"}:
        default = getattr(InpaintOptions(), name)
        text = parameters[name].annotation.__metadata__[0].help
        assert text.endswith(f"default: {words.get(default, default) if type(default) is bool else default}.")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff", "bmp"])
def test_format_follows_the_suffix(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path, suffix: str
) -> None:
    result = tmp_path / f"result.{suffix}"
    assert moebius("inpaint", exported, photo, mask, "-o", result, *FAST).code == 0
    corner = (slice(0, 16), slice(0, 16))
    difference = np.abs(pixels(result)[corner].astype(int) - pixels(photo)[corner]).max()
    assert difference == 0 or (suffix == "jpg" and difference < 8)


def test_rotated_photo_comes_out_upright_with_its_profile(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to see it upright
    lying = tmp_path / "phone.jpg"
    Image.open(photo).rotate(90, expand=True).save(lying, exif=exif, icc_profile=profile, quality=95)
    result = tmp_path / "result.png"
    assert moebius("inpaint", exported, lying, mask, "-o", result, *FAST).code == 0
    with Image.open(result) as image:
        assert image.size == (80, 72) and image.info["icc_profile"] == profile
        assert image.getexif().get(0x0112, 1) == 1
    assert np.abs(pixels(result)[:16].astype(int) - pixels(photo)[:16]).max() < 16


def test_a_bundle_in_the_place_of_the_mask_is_told_the_order(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    answer = moebius("inpaint", photo, mask, exported, "-o", tmp_path / "result.png")
    assert answer.code == 2 and f"the mask {exported} is a folder" in answer.err
    assert "the order is BUNDLE PHOTO MASK" in answer.err


def test_inputs_are_replaced_only_when_forced(moebius: Any, exported: Path, photo: Path, mask: Path) -> None:
    before = photo.read_bytes()
    for target in (photo, mask):
        answer = moebius("inpaint", exported, photo, mask, "-o", target, *FAST)
        assert answer.code == 2 and f"would replace {target}" in answer.err and "--force" in answer.err
    assert photo.read_bytes() == before
    assert moebius("inpaint", exported, photo, mask, "-o", photo, "-f", *FAST).code == 0
    assert photo.read_bytes() != before
    assert sorted(path.name for path in photo.parent.iterdir()) == ["mask.png", "photo.png"]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("result", "without a suffix"),
        ("result.heic", "as .heic; end its name in one of .png"),
        ("nowhere/result.png", "does not exist; create it first"),
        ("folder.png", "is a folder"),
    ],
)
def test_bad_output_is_refused_before_the_work(
    moebius: Any, photo: Path, mask: Path, tmp_path: Path, output: str, words: str
) -> None:
    (tmp_path / "folder.png").mkdir()
    answer = moebius("inpaint", tmp_path / "no.moebius", photo, mask, "-o", tmp_path / output)
    assert answer.code == 2 and words in answer.err


@pytest.mark.parametrize(("suffix", "width"), [("webp", 16_384), ("jpg", 65_501)])
def test_a_photo_that_the_format_cannot_hold_is_refused_before_the_work(
    moebius: Any, tmp_path: Path, suffix: str, width: int
) -> None:
    for name in ("photo", "mask"):
        Image.new("L", (width, 8)).save(tmp_path / f"{name}.png")
    names = [tmp_path / name for name in ("no.moebius", "photo.png", "mask.png")]
    answer = moebius("inpaint", *names, "-o", tmp_path / f"result.{suffix}")
    assert answer.code == 2 and "at most" in answer.err and "write a .png instead" in answer.err


@pytest.mark.parametrize("threads", [0, 1025, 10**12])
def test_impossible_threads_are_refused(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path, threads: int
) -> None:
    output = tmp_path / "result.png"
    answer = moebius("inpaint", exported, photo, mask, "-o", output, "--threads", threads)
    assert answer.code == 2 and f"threads is {threads}; " in answer.err
    assert not output.exists()


def test_transparency_is_kept_or_refused(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    with Image.open(photo) as image:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        image.save(tmp_path / "alpha.png")
        alpha = np.asarray(image)[..., 3]
    answer = moebius("inpaint", exported, tmp_path / "alpha.png", mask, "-o", tmp_path / "r.jpg", *FAST)
    assert answer.code == 2 and "JPEG cannot keep the photo's transparency" in answer.err
    assert not (tmp_path / "r.jpg").exists()
    assert (
        moebius("inpaint", exported, tmp_path / "alpha.png", mask, "-o", tmp_path / "r.png", *FAST).code == 0
    )
    with Image.open(tmp_path / "r.png") as image:
        assert np.array_equal(np.asarray(image)[..., 3], alpha)


def test_bad_photos_and_masks_are_one_sentence(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    heic = tmp_path / "phone.heic"
    heic.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    cut = tmp_path / "cut.png"
    cut.write_bytes(photo.read_bytes()[:-60])
    wrong = tmp_path / "wrong.png"
    Image.new("L", (72, 80), 255).save(wrong)
    black = tmp_path / "black.png"
    Image.new("L", (80, 72), 0).save(black)
    cases = {
        (heic, mask): "HEIC",
        (cut, mask): "damaged or cut off",
        (tmp_path / "no.png", mask): "does not exist",
        (photo, wrong): "they must be equal",
        (photo, black): "the mask is empty",
    }
    for (source, hole), words in cases.items():
        answer = moebius("inpaint", exported, source, hole, "-o", tmp_path / "result.png")
        assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1, words
        assert not (tmp_path / "result.png").exists()
    answer = moebius("inpaint", exported, photo, mask, "-o", tmp_path / "result.png", "--steps", 0)
    assert answer.code == 2 and "steps is 0" in answer.err


def test_full_disk_leaves_the_old_picture(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = tmp_path / "result.png"
    result.write_bytes(b"old")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "replace", full)
    answer = moebius("inpaint", exported, photo, mask, "-o", result, *FAST)
    assert answer.code == 2 and answer.err == f"error: {result}: No space left on device\n"
    assert result.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mask.png", "photo.png", "result.png"]


def test_ctrl_c_ends_with_130_and_nothing_written(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Inpainter, "__call__", interrupt)
    answer = moebius("inpaint", exported, photo, mask, "-o", tmp_path / "result.png")
    assert (answer.code, answer.out) == (130, "")
    assert answer.err == "stopped; nothing was left half-written\n"
    assert not (tmp_path / "result.png").exists()


def test_demo_makes_a_bundle_a_picture_and_the_next_command(checkpoint: Path, tmp_path: Path) -> None:
    said: list[str] = []
    made = demo.run(
        tmp_path / "demo", checkpoint=str(checkpoint), progress=lambda what, *_: said.append(what)
    )
    assert made.report.ok and made.seconds > 0
    assert made.peak_mb is not None and 40 < made.peak_mb < 1000
    assert said[0] == "loading the model" and said[-1] == "done"
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == ["demo.png", "small.moebius"]
    with Image.open(made.picture) as sheet:
        pixels = np.asarray(sheet)
    assert pixels.shape == (956, 1500, 3)
    height = 405  # 720 x 704 / 1252
    for top in (54, 54 + height + 12):
        before, after = (pixels[top : top + height, left : left + 720] for left in (24, 24 + 732))
        red = [(abs(part.astype(int) - (225, 32, 72)) < 40).all(axis=2).sum() for part in (before, after)]
        assert red[0] > red[1] + 300  # the line around the bird
        same = (before == after).all(axis=2)
        assert 0.5 < same.mean() < 0.99
        assert same[:, :100].all() and same[:, -100:].all()  # far from the bird nothing is touched
    assert any("moebius-edge inpaint" in line for line in made.lines)


def chunked(photo: Path, kind: bytes, contents: bytes) -> None:
    """Put a chunk into a PNG."""
    photo.write_bytes(png.with_chunks(photo.read_bytes(), [png.chunk(kind, contents)]))


def test_what_cannot_be_kept_is_a_note_and_the_edit_goes_on(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    chunked(photo, b"eXIf", b"not a TIFF header\nat all")
    answer = moebius("inpaint", exported, photo, mask, "-o", tmp_path / "r.png", *FAST)
    assert answer.code == 0 and answer.out == f"wrote {tmp_path / 'r.png'} (80x72)\n"
    assert answer.err == f"note: the EXIF data of the photo {photo} cannot be read and are left out\n"


@pytest.mark.parametrize(
    ("policy", "stays"),
    [(None, True), ("keep", True), ("no-location", True), ("none", False)],
)
def test_metadata_reaches_the_result_as_asked(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path, policy: str | None, stays: bool
) -> None:
    data = Image.Exif()
    data[0x010F] = "a camera"
    data.get_ifd(0x8825)[1] = "N"
    chunked(photo, b"eXIf", data.tobytes().removeprefix(b"Exif\0\0"))
    words = ("--metadata", policy) if policy else ()
    answer = moebius("inpaint", exported, photo, mask, "-o", tmp_path / "r.jpg", *FAST, *words)
    assert answer.code == 0, answer.err
    with Image.open(tmp_path / "r.jpg") as image:
        found = image.getexif()
        assert (found.get(0x010F) == "a camera") is stays
        assert bool(found.get_ifd(0x8825)) is (policy in (None, "keep"))


def test_files_that_need_a_word_are_taken_with_it(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    cut, moving = tmp_path / "cut.jpg", tmp_path / "moving.gif"
    with Image.open(photo) as image:
        image.save(cut, quality=95)
        image.save(moving, save_all=True, append_images=[image.rotate(180)])
    cut.write_bytes(cut.read_bytes()[:-500])
    for source, word in ((cut, "--accept-truncated"), (moving, "--first-frame")):
        arguments = ("inpaint", exported, source, mask, "-o", tmp_path / "r.png", *FAST)
        answer = moebius(*arguments)
        assert answer.code == 2 and word in answer.err and not (tmp_path / "r.png").exists()
        assert moebius(*arguments, word).code == 0
        (tmp_path / "r.png").unlink()


@pytest.mark.parametrize("suffix", ["bmp", "jpg"])
def test_colours_that_the_format_cannot_keep_are_refused_before_the_work(
    moebius: Any, photo: Path, mask: Path, tmp_path: Path, suffix: str
) -> None:
    chunked(photo, b"cICP", bytes((12, 13, 0, 1)))
    answer = moebius("inpaint", tmp_path / "no.moebius", photo, mask, "-o", tmp_path / f"r.{suffix}")
    assert answer.code == 2 and "cICP" in answer.err and "write a .png instead" in answer.err


def test_an_unwritable_place_and_an_unknown_policy_are_refused_before_the_work(
    moebius: Any, photo: Path, mask: Path, tmp_path: Path
) -> None:
    names = (tmp_path / "no.moebius", photo, mask, "-o")
    answer = moebius("inpaint", *names, "/proc/self/x.png")
    assert answer.code == 2 and "/proc/self/x.png cannot be written" in answer.err
    answer = moebius("inpaint", *names, tmp_path / "r.png", "--metadata", "all")
    assert answer.code == 2 and "metadata is 'all'" in answer.err


def test_the_mode_of_a_replaced_file_stays(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    private = tmp_path / "private.png"
    private.write_bytes(photo.read_bytes())
    private.chmod(0o600)
    assert moebius("inpaint", exported, photo, mask, "-o", private, "--force", *FAST).code == 0
    assert private.stat().st_mode & 0o777 == 0o600


def test_16_bits_stay_outside_the_hole(
    moebius: Any, exported: Path, photo: Path, mask: Path, tmp_path: Path
) -> None:
    words = np.random.default_rng(0).integers(0, 65536, (72, 80, 3)).astype(np.uint16)
    photo.write_bytes(deep.png_file(words, []))
    for suffix in ("png", "tif"):
        assert moebius("inpaint", exported, photo, mask, "-o", tmp_path / f"r.{suffix}", *FAST).code == 0
        found = read_photo(tmp_path / f"r.{suffix}").deep
        assert found is not None and np.array_equal(found[:20], words[:20])
        assert not np.array_equal(found[30:40, 34:46], words[30:40, 34:46])
