"""Define the command line.

Exit codes: 0 fine, 1 a check failed, 2 wrong use or bad input, 130 and 143 stopped.
"""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from moebius_edge.cli import (
    bundles,
    calibrate,
    checks,
    doctor,
    edit,
    ledger,
    models,
    package,
    profile,
    prove,
    show,
)
from moebius_edge.cli.described import Described
from moebius_edge.common.explain import explained


class Commands(TyperGroup):
    """The group of all commands, in the order in which one needs them; their errors are explained here."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of registration, not of the alphabet."""
        return list(self.commands)

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read the arguments.

        Ctrl-C at this time is explained too; typer by itself would end without a word.
        """
        with explained():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: Any) -> Any:
        """Run a command, with its errors explained."""
        with explained():
            return super().invoke(ctx)


app = typer.Typer(
    cls=Commands,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

PANELS: dict[str, dict[str, Callable[..., None]]] = {
    "Start here": {"demo": edit.demo},
    "Make a bundle": {
        "models": models.models,
        "pull": models.pull,
        "calibrate": calibrate.calibrate,
        "ledger": ledger.ledger,
        "export": bundles.export,
        "import-engine": bundles.import_engine,
    },
    "Use a bundle": {"inpaint": edit.inpaint},
    "Check a bundle": {
        "verify": checks.verify,
        "profile": profile.profile,
        "prove": prove.prove,
        "inspect": checks.inspect,
        "doctor": doctor.doctor,
    },
    "Ship a bundle": {"package": package.package, "serve": package.serve},
}

for panel, commands in PANELS.items():
    for name, command in commands.items():
        app.command(name, cls=Described, rich_help_panel=panel)(command)


def _version(wanted: bool) -> None:
    if wanted:
        from moebius_edge import __version__  # noqa: PLC0415

        print(f"moebius-edge {__version__}")
        raise typer.Exit


@app.callback()
def about(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Remove things from photos with the Moebius inpainting model, on devices without a big GPU.

    A published checkpoint goes in at one end; a **bundle** comes out at the other: a folder with three graphs
    (encoder, denoiser, decoder), everything an app must know to run them, and a self-test: what the model in
    PyTorch, in 32-bit floats (FP32), computes for one edit.

    **First steps**

    - `moebius-edge demo` exports the small built-in model, checks it and removes birds from two photos.
    - `moebius-edge export nano --output nano.moebius` makes that bundle by itself.
    - `moebius-edge inpaint nano.moebius photo.jpg mask.png -o result.png` fills what is white in the mask.
    - `moebius-edge verify nano.moebius` replays the bundle's self-test here.

    Results go to standard output, progress and errors to standard error. Exit codes: 0 fine, 1 a check
    failed, 2 wrong use or bad input, 130 stopped with Ctrl-C, 143 with SIGTERM.
    """


def main() -> None:
    """Run the command of `sys.argv`; help when it has none.

    Ends in SystemExit, or in KeyboardInterrupt before there is a command.
    """
    show.tolerate_any_name()
    app(sys.argv[1:] or ["--help"], prog_name="moebius-edge")
