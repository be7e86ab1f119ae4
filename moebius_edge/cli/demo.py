"""Run the demo: export the built-in model, check it, remove a bird from each of two photos."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from moebius_edge.bundle.folder import Bundle
from moebius_edge.bundle.manifest import GRAPH_NAMES, Manifest
from moebius_edge.checking.first_run import measure_first_run
from moebius_edge.checking.report import Report
from moebius_edge.checking.verify import verify
from moebius_edge.checkpoints.load import load_checkpoint
from moebius_edge.common.files import write_atomically
from moebius_edge.common.samples import SAMPLES, sample
from moebius_edge.inpaint.outline import outlined
from moebius_edge.inpainter import Inpainter
from moebius_edge.photos.reading import read_mask, read_photo
from moebius_edge.runtimes import open_runtime

CHECKPOINT = "nano"
STAGES = 5
TITLES = ("what is to go", "the result")

# The picture, in pixels and RGB.
PANEL, MARGIN, TITLE_SIZE, CAPTION_SIZE = 720, 24, 22, 18
OUTLINE = 5  # of the photo's pixels: the width of the line around what is to go
PAPER, INK, SOFT, HOLE = (252, 252, 250), (32, 36, 40), (104, 110, 116), (225, 32, 72)

Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """What the demo made and what it took."""

    bundle: Path
    picture: Path
    report: Report
    seconds: float  # of the slower edit; the first one loads the graphs, too
    peak_mb: float | None  # of an edit in a process of its own
    lines: tuple[str, ...]  # what to tell the user


def run(
    output: Path, *, checkpoint: str = CHECKPOINT, progress: Say | None = None, command: str = "moebius-edge"
) -> Demo:
    """Write `output`/nano.moebius and `output`/demo.png; an older demo there is replaced.

    `progress(what, done, total)` says what is being done; `command` is how the user calls this program.
    Raises MoebiusError, or OSError when the picture cannot be written.
    """
    from moebius_edge.export.build import export_bundle  # noqa: PLC0415 (needs torch, as nothing else here)

    say = progress or (lambda what, done, total: None)
    say("loading the model", 0, STAGES)
    loaded = load_checkpoint(checkpoint)
    say("exporting it to ONNX Runtime", 1, STAGES)
    bundle = export_bundle(loaded, output / f"{loaded.name}.moebius", overwrite=True)
    say("checking it against the FP32 reference", 2, STAGES)
    runtime = open_runtime(bundle)
    report = verify(bundle, runtime)
    say("removing birds from two photos", 3, STAGES)
    rows, seconds = _remove(Inpainter.of(bundle.manifest, runtime))
    say("measuring its memory", 4, STAGES)
    peak_mb = measure_first_run(bundle, GRAPH_NAMES).peak_mb
    picture = output / "demo.png"
    buffer = io.BytesIO()
    draw(rows, _captions(bundle.manifest, report, seconds, peak_mb)).save(buffer, "PNG", optimize=True)
    write_atomically(picture, buffer.getvalue())
    say("done", STAGES, STAGES)
    lines = _lines(bundle, picture, report, max(seconds), peak_mb, command)
    return Demo(bundle.folder, picture, report, max(seconds), peak_mb, lines)


def _remove(inpainter: Inpainter) -> tuple[list[tuple[Image.Image, Image.Image]], list[float]]:
    """Remove the object of each sample; return pairs of pictures and the seconds of each edit.

    A pair is the photo with the object outlined and the result, both RGB.
    """
    rows, seconds = [], []
    for name in SAMPLES:
        photo_path, mask_path = sample(name)
        start = time.perf_counter()
        result = inpainter(photo_path, mask_path)
        seconds.append(time.perf_counter() - start)
        photo = read_photo(photo_path)
        marked = outlined(photo.rgb, read_mask(mask_path, photo.size).hole, OUTLINE, HOLE)
        rows.append((Image.fromarray(marked), result.convert("RGB")))
    return rows, seconds


def draw(rows: list[tuple[Image.Image, Image.Image]], captions: tuple[str, ...]) -> Image.Image:
    """Draw a row per removal, two pictures of one size side by side, and lines of text below.

    The first line of text is darker.
    """
    heights = [round(PANEL * left.height / left.width) for left, _ in rows]
    title_font, caption_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(CAPTION_SIZE)
    top = MARGIN + TITLE_SIZE + 8
    foot = top + sum(height + MARGIN // 2 for height in heights) + 4
    line = CAPTION_SIZE + 8
    sheet = Image.new("RGB", (2 * PANEL + 5 * MARGIN // 2, foot + line * len(captions) + MARGIN // 2), PAPER)
    pen = ImageDraw.Draw(sheet)
    places = (MARGIN, MARGIN + PANEL + MARGIN // 2)
    for left, title in zip(places, TITLES, strict=True):
        pen.text((left, MARGIN - 4), title, INK, title_font)
    for row, height in zip(rows, heights, strict=True):
        for left, picture in zip(places, row, strict=True):
            sheet.paste(picture.resize((PANEL, height), Image.Resampling.LANCZOS), (left, top))
        top += height + MARGIN // 2
    for number, caption in enumerate(captions):
        pen.text((MARGIN, foot + number * line), caption, INK if number == 0 else SOFT, caption_font)
    return sheet


def _captions(
    manifest: Manifest, report: Report, seconds: list[float], peak_mb: float | None
) -> tuple[str, str]:
    """Say what was done, for people; and what it is and how it was proven, for engineers."""
    took = " and ".join(f"{value:.1f}" for value in seconds)
    memory = "" if peak_mb is None else f", {peak_mb:,.0f} MB of memory at its peak"
    worst = min(graph.db for graph in report.graphs.values())
    steps = f"{len(manifest.scheduler.coefficients)} steps and a second, closer pass"
    proof = f"as its FP32 reference computes it ({worst:.0f} dB)" if report.ok else "NOT as its reference"
    return (
        f"Each bird was removed by Moebius {manifest.model.name}, a model of "
        f"{manifest.total_bytes / 1e6:.0f} MB, on this computer's processor: in {took} seconds.",
        f"{manifest.precision} on ONNX Runtime, {steps}{memory}; {proof}.",
    )


def _lines(
    bundle: Bundle, picture: Path, report: Report, seconds: float, peak_mb: float | None, command: str
) -> tuple[str, ...]:
    memory = "" if peak_mb is None else f" and {peak_mb:,.0f} MB of memory"
    photo, mask = sample(SAMPLES[0])
    checked = "equal to the FP32 reference" if report.ok else "NOT equal to the FP32 reference"
    return (
        f"exported {bundle.folder}",
        f"checked  it is {checked}: " + ", ".join(f"{k} {v.db:.0f} dB" for k, v in report.graphs.items()),
        *(f"FAILED   {failure}" for failure in report.failures),
        f"edited   {len(SAMPLES)} photos, the slower one in {seconds:.1f} s{memory}",
        f"wrote    {picture}",
        "",
        "next, the same with a photo of yours (mask: an image of its size, white where something is to go):",
        f"  {command} inpaint {bundle.folder} photo.jpg mask.png -o result.png",
        "the first photo and mask of this demo are",
        f"  {photo}",
        f"  {mask}",
    )
