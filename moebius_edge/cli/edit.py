"""Use a bundle: the commands `inpaint` and `demo`."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moebius_edge.cli import show
from moebius_edge.cli.options import RUNTIME_HELP
from moebius_edge.common.progress import progress, stages

if TYPE_CHECKING:
    from moebius_edge.cli.file_edit import FileEdit

# The options of an edit: panel of the help -> name -> type and help. The names are the fields of
# `InpaintOptions`, which is imported late: it needs numpy, and help should not wait for that.
EDIT_OPTIONS: dict[str, dict[str, tuple[type, str]]] = {
    "The model": {
        "steps": (int, "Steps from noise to picture, 1 to 1000; default: the bundle's, usually 20."),
        "guidance": (
            float,
            "How strongly to guide; 1 = off; authors: 2.0 to 4.5; default: the bundle's.",
        ),
        "strength": (
            float,
            "How much noise to start with; 1 = noise alone; default: the bundle's.",
        ),
        "seed": (int, "0 to 2^64 - 1; another seed, another fill; default: 0."),
        "noise_offset": (
            float,
            "Spread of a constant added to the first noise; lets fills be brighter or darker; 0 = none.",
        ),
        "mode": (str, "`portable`, or `published`: as the authors do it; default: portable."),
    },
    "The mask": {
        "polarity": (str, "Pixels to be filled: `white` or `black`; default: white."),
        "dilate": (int, "Grow the mask by so many pixels; try 8 if a trace stays; default: 0."),
        "margin": (float, "Photo seen on each side, x the larger of hole and model size; default: 1.0."),
        "refine": (float, "Strength of a second, closer pass over a coarse fill; 0 = none; default: 0.5."),
        "together": (bool, "Fill holes that are far apart in one square, all at one scale; default: no."),
    },
    "Back into the photo": {
        "feather": (int, "Pixels around the mask over which the fill fades into the photo; default: 8."),
        "blend": (
            str,
            "`harmonic`: fit the fill's colours to the photo; `feather`: do not; default: harmonic.",
        ),
        "compensate": (bool, "Published mode: shift the fill's colours as the authors do; default: no."),
        "paste": (
            bool,
            "Published mode: paste the fill, or give the model's whole picture; default: yes.",
        ),
    },
}
# Options of reading and writing, likewise: fields of `ReadOptions` and `MaskOptions`, and what is written of
# the metadata.
FILE_OPTIONS: dict[str, tuple[type, str]] = {
    "metadata": (
        str,
        "Of date, camera and place: `keep` all, `no-location`: not the place, `none`; default: keep.",
    ),
    "accept_truncated": (bool, "Take a JPEG or PNG that lacks pixels; they are grey, or black; default: no."),
    "mask_from": (
        str,
        "What marks in the mask: its `brightness`, `any` colour but black, or `alpha`; default: brightness.",
    ),
    "fit_mask": (bool, "Resize a mask of the photo's shape but another size; default: no."),
    "first_frame": (bool, "Take the first frame of an animation, the first page of several; default: no."),
}
RUNNING = "Running"


def _with_edit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Spell out the `**options` of `command` in its signature, which typer reads; None means not given."""
    signature = inspect.signature(command)
    options = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[kind | None, typer.Option(help=text, rich_help_panel=panel)],
        )
        for panel, entries in {**EDIT_OPTIONS, "The files": FILE_OPTIONS}.items()
        for name, (kind, text) in entries.items()
    ]
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    # The order is that of the help: files, the edit, then the engine.
    first = [p for p in own if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    parameters = [*first, *options, *own[len(first) :]]
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


@_with_edit_options
def inpaint(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle folder made by `moebius-edge export`.")
    ],
    photo: Annotated[
        Path,
        typer.Argument(
            metavar="PHOTO",
            help="JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC; at most 134 million pixels. Or a folder.",
        ),
    ],
    mask: Annotated[
        Path,
        typer.Argument(
            metavar="MASK",
            help="An image of the photo's size: white = fill, black = keep. Of a folder: one for all its "
            "photos, or a folder with one of each photo's name.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="Picture to write; its suffix chooses the format. Of a folder: another folder.",
        ),
    ],
    force: Annotated[
        bool,
        typer.Option("--force", "-f", help="Let the output replace photo or mask; redo a folder's results."),
    ] = False,
    *,
    runtime: Annotated[str | None, typer.Option(rich_help_panel=RUNNING, help=RUNTIME_HELP)] = None,
    threads: Annotated[
        int | None, typer.Option(rich_help_panel=RUNNING, help="CPU threads; default: one per core.")
    ] = None,
    **options: Any,
) -> None:
    """Fill the masked part of a photo, or of each photo of a folder.

    Pixels outside the feathered mask stay exactly as they were; PNG, TIFF, BMP and WebP outputs keep them so,
    JPEG stores all pixels a little differently. The result is upright, whatever EXIF rotation the photo had,
    and keeps its transparency, its colour profile, and its date, place and camera.

    Of a folder, results that are there already are left: after an interruption the same command goes on. A
    photo that fails is named at the end, and does not stop the others.
    """
    from moebius_edge.cli.file_edit import FileEdit  # noqa: PLC0415
    from moebius_edge.inpainter import Inpainter  # noqa: PLC0415

    edit = FileEdit.of(options)
    if photo.is_dir():
        _inpaint_folder(bundle, photo, mask, output, edit, force, runtime, threads)
        return
    prepared = edit.prepare(photo, mask, output, force=force)
    for note in prepared.notes:
        show.note(note)
    inpainter = Inpainter.load(bundle, runtime, threads)
    with progress("inpainting") as tick:
        picture = prepared.run(inpainter, tick)
    show.out().print(f"wrote {output} ({picture.width}x{picture.height})", markup=False)


def _inpaint_folder(
    bundle: Path,
    photos: Path,
    masks: Path,
    output: Path,
    edit: "FileEdit",
    force: bool,
    runtime: str | None,
    threads: int | None,
) -> None:
    from moebius_edge.cli import folders  # noqa: PLC0415
    from moebius_edge.inpainter import Inpainter  # noqa: PLC0415

    tasks = folders.plan(photos, masks, output)
    inpainter = Inpainter.load(bundle, runtime, threads, low_memory=False)
    inpainter.options(**edit.options)  # what is wrong with these is wrong for every photo
    with stages("inpainting") as say:
        done = folders.run(tasks, masks, edit, inpainter, say, force=force)
    for note in done.notes:
        show.note(note)
    for sentence in folders.sentences(done, output):
        show.out().print(sentence, markup=False)
    if done.failed:
        raise typer.Exit(show.FAILED)


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the bundle and the picture.")
    ] = Path("moebius-demo"),
) -> None:
    """Export the small built-in model, check it, and remove birds from two photos.

    It writes one picture of the result and takes about a minute.
    """
    from moebius_edge.cli.demo import run  # noqa: PLC0415

    with stages("demo") as say:
        done = run(output, progress=say, command=show.called())
    console = show.out()
    for line in done.lines:
        console.print(line, markup=False)
    if not done.report.ok:
        raise typer.Exit(show.FAILED)
