"""`moebius-edge demo`: export the built-in model, check it, remove a bird from a photo, show what it took."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from moebius_edge.bundle import Bundle
from moebius_edge.checkpoints import load_checkpoint
from moebius_edge.files import write_atomically
from moebius_edge.fresh import measure_fresh
from moebius_edge.inpainter import Inpainter
from moebius_edge.manifest import GRAPH_NAMES, Manifest
from moebius_edge.parity import verify
from moebius_edge.report import Report
from moebius_edge.runtimes import open_runtime
from moebius_edge.samples import sample

CHECKPOINT, SAMPLE = "nano", "wren"
STAGES = 5

# The picture, in pixels and RGB.
PANEL, MARGIN, TITLE_SIZE, CAPTION_SIZE = 620, 24, 22, 20
PAPER, INK, SOFT, HOLE = (252, 252, 250), (32, 36, 40), (104, 110, 116), (225, 32, 72)

Say = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Demo:
    """What was made and what it took."""

    bundle: Path
    picture: Path
    report: Report
    seconds: float  # of the edit, graphs loaded on the way
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
    say("removing a bird from a photo", 3, STAGES)
    photo_path, mask_path = sample(SAMPLE)
    start = time.perf_counter()
    result = Inpainter.of(bundle.manifest, runtime)(photo_path, mask_path)
    seconds = time.perf_counter() - start
    say("measuring its memory", 4, STAGES)
    peak_mb = measure_fresh(bundle, GRAPH_NAMES).peak_mb
    caption = _caption(bundle.manifest, report, seconds, peak_mb)
    with Image.open(photo_path) as photo, Image.open(mask_path) as mask:
        sheet = draw(photo.convert("RGB"), mask.convert("L"), result.convert("RGB"), caption)
    picture = output / "demo.png"
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG", optimize=True)
    write_atomically(picture, buffer.getvalue())
    say("done", STAGES, STAGES)
    lines = _lines(bundle, picture, report, seconds, peak_mb, command)
    return Demo(bundle.folder, picture, report, seconds, peak_mb, lines)


def draw(photo: Image.Image, mask: Image.Image, result: Image.Image, caption: str) -> Image.Image:
    """Photo, mask over photo, and result side by side (RGB, L and RGB of one size), with a line below."""
    marked = Image.composite(
        Image.blend(photo, Image.new("RGB", photo.size, HOLE), 0.6),
        photo,
        mask.point(lambda v: 255 * (v > 127)),
    )
    panels = {"the photo": photo, "what is to go": marked, "the result": result}
    height = round(PANEL * photo.height / photo.width)
    title_font, caption_font = ImageFont.load_default(TITLE_SIZE), ImageFont.load_default(CAPTION_SIZE)
    top = MARGIN + TITLE_SIZE + 12
    size = (len(panels) * (PANEL + MARGIN) + MARGIN, top + height + 14 + CAPTION_SIZE + MARGIN)
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    for number, (title, panel) in enumerate(panels.items()):
        left = MARGIN + number * (PANEL + MARGIN)
        pen.text((left, MARGIN - 4), title, INK, title_font)
        sheet.paste(panel.resize((PANEL, height), Image.Resampling.LANCZOS), (left, top))
    pen.text((MARGIN, top + height + 14), caption, SOFT, caption_font)
    return sheet


def _caption(manifest: Manifest, report: Report, seconds: float, peak_mb: float | None) -> str:
    memory = "" if peak_mb is None else f", {peak_mb:,.0f} MB of memory at its peak"
    worst = min(graph.db for graph in report.graphs.values())
    proof = f"equal to its FP32 reference ({worst:.0f} dB)" if report.ok else "NOT equal to its reference"
    return (
        f"Moebius {manifest.model.name}, {manifest.total_bytes / 1e6:.0f} MB, {manifest.precision} on "
        f"ONNX Runtime: {len(manifest.scheduler.coefficients)} steps in {seconds:.1f} s on this CPU{memory}; "
        f"{proof}"
    )


def _lines(
    bundle: Bundle, picture: Path, report: Report, seconds: float, peak_mb: float | None, command: str
) -> tuple[str, ...]:
    memory = "" if peak_mb is None else f" and {peak_mb:,.0f} MB of memory"
    photo, mask = sample(SAMPLE)
    checked = "equal to the FP32 reference" if report.ok else "NOT equal to the FP32 reference"
    return (
        f"exported {bundle.folder}",
        f"checked  it is {checked}: " + ", ".join(f"{k} {v.db:.0f} dB" for k, v in report.graphs.items()),
        *(f"FAILED   {failure}" for failure in report.failures),
        f"edited   a photo in {seconds:.1f} s{memory}",
        f"wrote    {picture}",
        "",
        "next, the same with a photo of yours (mask: an image of its size, white where something is to go):",
        f"  {command} inpaint {bundle.folder} photo.jpg mask.png -o result.png",
        "the photo and the mask of this demo are",
        f"  {photo}",
        f"  {mask}",
    )
