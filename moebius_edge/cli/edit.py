"""`inpaint` and `demo`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from moebius_edge.cli import show

Sampling, Masking, Pasting, Running = "The model", "The mask", "Back into the photo", "Running"


def inpaint(  # noqa: PLR0913, PLR0917 (a parameter is an option of the command line)
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="A bundle folder made by `moebius-edge export`.")
    ],
    photo: Annotated[
        Path, typer.Argument(metavar="PHOTO", help="JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF; any size.")
    ],
    mask: Annotated[
        Path, typer.Argument(metavar="MASK", help="An image of the photo's size: white = fill, black = keep.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Picture to write; its suffix chooses the format.")
    ],
    force: Annotated[
        bool, typer.Option("--force", "-f", help="Allow the output to replace the photo or the mask.")
    ] = False,
    steps: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=Sampling,
            help="Steps from noise to picture, 1 to 1000; default: the bundle's, usually 20.",
        ),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=Sampling,
            help="Scale; 1 is none, the authors use 2.0 to 4.5; default: the bundle's.",
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=Sampling,
            help="How much of the old is forgotten, up to 1 = all; default: the bundle's.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(rich_help_panel=Sampling, help="0 to 2^64 - 1; another seed, another fill; default: 0."),
    ] = None,
    noise_offset: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=Sampling,
            help="Spread of the starting noise's offset per channel; default: the bundle's.",
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=Sampling,
            help="`portable`, or `published`: as the authors do it; default: portable.",
        ),
    ] = None,
    polarity: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=Masking, help="Pixels to be filled: `white` or `black`; default: white."
        ),
    ] = None,
    dilate: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=Masking,
            help="Grow the mask by so many pixels; try 8 if a rim stays; default: 0.",
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=Masking, help="Context around the hole, in units of its size; default: 0.25."
        ),
    ] = None,
    feather: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=Pasting, help="Pixels around the mask over which the fill fades out; default: 8."
        ),
    ] = None,
    compensate: Annotated[
        bool | None,
        typer.Option(
            rich_help_panel=Pasting, help="Shift the fill's colours to fit its surroundings; default: no."
        ),
    ] = None,
    paste: Annotated[
        bool | None,
        typer.Option(
            rich_help_panel=Pasting,
            help="Published mode: blend into the photo, or all of the fill; default: yes.",
        ),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(rich_help_panel=Running, help="Engine; default: the bundle's own.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(rich_help_panel=Running, help="CPU threads; default: one per core.")
    ] = None,
) -> None:
    """Fill the masked part of a photo.

    Pixels outside the feathered mask stay exactly as they were; PNG, TIFF, BMP and WebP outputs keep them
    so, JPEG stores all pixels a little differently. The result is upright, whatever EXIF rotation the photo
    had, and keeps its transparency and colour profile, but not its date, place and camera.
    """
    from moebius_edge.cli.pictures import check_output, save_picture  # noqa: PLC0415
    from moebius_edge.inpainter import Inpainter  # noqa: PLC0415

    given: dict[str, Any] = {
        "steps": steps,
        "guidance": guidance,
        "strength": strength,
        "seed": seed,
        "noise_offset": noise_offset,
        "mode": mode,
        "polarity": polarity,
        "dilate": dilate,
        "margin": margin,
        "feather": feather,
        "compensate": compensate,
        "paste": paste,
    }
    options = {name: value for name, value in given.items() if value is not None}
    check_output(output, photo, mask, force)
    inpainter = Inpainter.load(bundle, runtime, threads)
    with show.progress("inpainting") as tick:
        picture = inpainter(photo, mask, progress=tick, **options)
    save_picture(picture, output)
    show.out().print(f"wrote {output} ({picture.width}x{picture.height})", markup=False)


def demo(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the bundle and the picture.")
    ] = Path("moebius-demo"),
) -> None:
    """Export the small built-in model, check it, remove a bird from a photo: one picture, about a minute."""
    from moebius_edge.demo import run  # noqa: PLC0415

    with show.stages("demo") as say:
        done = run(output, progress=say, command=show.called())
    console = show.out()
    for line in done.lines:
        console.print(line, markup=False)
    if not done.report.ok:
        raise typer.Exit(show.FAILED)
