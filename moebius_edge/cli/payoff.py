"""Print what `export` says of a precision: what was converted, and what it gains and costs here."""

import json
from typing import TYPE_CHECKING

from moebius_edge.cli import show
from moebius_edge.common.explain import printable
from moebius_edge.common.progress import stages

if TYPE_CHECKING:
    from moebius_edge.bundle.folder import Bundle
    from moebius_edge.checkpoints.checkpoint import Checkpoint


def print_conversion(bundle: "Bundle") -> None:
    """Print the sentences of the bundle's `precision.json`, if it has them."""
    from moebius_edge.export.build import REPORT  # noqa: PLC0415

    if REPORT not in bundle.manifest.files:
        return
    lines = json.loads(bundle.file(REPORT).read_text()).get("summary", [])
    for line in [*lines, f"what was converted, what was kept and why: {bundle.file(REPORT)}"]:
        show.out().print(line, markup=False)


def print_payoff(checkpoint: "Checkpoint", bundle: "Bundle") -> None:
    """Print the gain of the bundle's precision, and warnings.

    The bundle is already in its place, so an error of the comparison is only one more warning.
    """
    from moebius_edge.common.errors import MoebiusError  # noqa: PLC0415
    from moebius_edge.export.payoff import measure_payoff  # noqa: PLC0415

    console = show.out()
    try:
        with stages(str(bundle.folder)) as say:
            payoff = measure_payoff(checkpoint, bundle, say)
    except (MoebiusError, MemoryError, OSError) as error:
        warnings = [f"it could not be compared with fp32: {printable(str(error) or type(error).__name__)}"]
    else:
        console.print(payoff.sentence(), markup=False)
        warnings = payoff.warnings()
    for warning in warnings:
        console.print(f"WARNING  {warning}", markup=False, style="yellow")
