"""The command line that the two training scripts share."""

import argparse
from pathlib import Path
from typing import Any, TypeVar

from moebius_edge.training.loop import Budget

Options = TypeVar("Options")

# Names that are arguments and, alike, fields of the scripts' options.
SHARED = ("photos", "run", "sheet_photos", "batch", "lr", "seed", "bf16")


def training_parser(description: str | None, options: type[Any], budget: Budget) -> argparse.ArgumentParser:
    """What both scripts understand. Defaults are those of `options`, a dataclass, and of `budget`."""
    formatter = argparse.ArgumentDefaultsHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=formatter)
    add = parser.add_argument
    add("--photos", type=Path, required=True, help="folder of training photos")
    add("--run", type=Path, required=True, help="folder for checkpoint, weights and sheets")
    add("--init", choices=["nano"], help="start from the shipped weights")
    add("--sheet-photos", type=Path, help="folder of photos for the sample sheet")
    add("--minutes", type=float, default=budget.minutes, help="of running")
    add("--steps", type=int, default=budget.steps, help="a fixed number of steps instead")
    add("--save-minutes", type=float, default=budget.save_minutes, help="between checkpoints with sheet")
    add("--batch", type=int, default=options.batch, help="examples per step")
    add("--lr", type=float, default=options.lr, help="learning rate after the warm-up")
    add("--seed", type=int, default=options.seed)
    add(
        "--bf16",
        action=argparse.BooleanOptionalAction,
        default=options.bf16,
        help="autocast; without AMX or AVX-512 BF16 at full speed, --no-bf16 is faster",
    )
    return parser


def chosen(given: argparse.Namespace, options: type[Options]) -> tuple[Options, Budget]:
    """The options and the budget of a training from what was given."""
    budget = Budget(given.minutes, given.steps, given.save_minutes)
    return options(**{name: getattr(given, name) for name in SHARED}), budget
