"""Parse the arguments of `python -m moebius_edge...` scripts."""

import argparse


class _Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """Help with the description as it is written, and the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def script_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser for the script `python -m MODULE`.

    Its help begins with `description`, the docstring of the module, and shows the default of every option
    that has one.
    """
    return argparse.ArgumentParser(prog=f"python -m {module}", description=description, formatter_class=_Help)
