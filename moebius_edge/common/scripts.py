"""The arguments of `python -m moebius_edge...` scripts."""

import argparse


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as it is written, every option with its default if it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def script_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the docstring of `module`."""
    return argparse.ArgumentParser(prog=f"python -m {module}", description=description, formatter_class=_Help)
