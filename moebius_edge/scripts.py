"""The arguments of `python -m moebius_edge...` scripts."""

import argparse


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as it is written, every option with its default."""


def script_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of `module`."""
    return argparse.ArgumentParser(prog=f"python -m {module}", description=description, formatter_class=_Help)
