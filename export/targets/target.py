"""What a target is: the row that the folder of each one holds. Imports no engine and no tool."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moebius_edge.export.rewrites.forms import CPU, CPU_INT8, Forms
from moebius_edge.precisions import PRECISIONS, Need

if TYPE_CHECKING:
    from moebius_edge.calibration.weights.encodings import WeightEncoding


@dataclass(frozen=True)
class Target:
    """One row of the table of targets."""

    name: str  # as typed: `--target ort`
    runtime: str  # the runtime that opens the bundle: a name of `moebius_edge.runtimes.runtimes()`
    runs_on: str  # on what, and by which engine
    state: str  # what works today, for the README: sentences, with a link to its page
    order: int = 100  # its place in help and tables; those of one order by name
    # Precisions: the default, and what the engine takes besides floats in 32 bits.
    default: str = "fp32"
    takes: frozenset[Need] = frozenset()
    # Precisions that `ship` makes of the ONNX graphs of another one.
    made_of: Mapping[str, str] = field(default_factory=dict)
    # The graphs.
    forms: Forms = CPU  # of the deploy graphs
    quantized_forms: Forms = CPU_INT8  # of graphs whose denoiser is in INT8
    qdq: str = "onnxruntime"  # how the engine wants its Q/DQ: a name of `QDQ_STYLES`
    weights: "WeightEncoding" = "arithmetic"  # how integers become float weights
    blocked: bool = True  # FP32 may run on blocks of channels, as x86-64 likes it best
    # What makes the artifacts of ONNX files: "module:function(folder, graphs, options, checkpoint)".
    ship: str | None = None
    # What finds out before anything takes time whether that can be done: "module:function(settings, kit)".
    ready: str | None = None
    # What adds to the ONNX files what it takes to do that elsewhere: "module:function(folder, graphs)".
    kit: str | None = None
    kit_file: str = ""  # what is run there, one of the kit's files: a bundle that holds it is a kit
    kit_steps: tuple[str, ...] = ()  # what to do with it, a line each; {folder} is where it lies
    # What makes a bundle of what was made of a kit: "module:function(kit, artifacts, output, *, overwrite)".
    take_back: str | None = None
    # What `moebius-edge doctor` asks about a bundle for this target: "module:function(bundle)".
    doctor: str | None = None
    doctor_help: str = ""  # whom the answer is about
    # What can be set for `ship` by name: the values that are possible, the default first.
    settings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    # Precision, or what one needs -> settings that only it has, or of which it allows only some values.
    only: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    # Where an app of `moebius-edge package` can run its bundles, the best place first.
    platforms: tuple[str, ...] = ()
    # What it takes to export.
    extra: str = ""  # of the package that it is in: brings `tools`; "": they come with it
    tools: tuple[str, ...] = ()  # packages that make the artifact, besides those of every export
    made_by: str | None = None  # where that is found out: "module:function()", name -> version
    package: str = "moebius-edge"  # whose row this is; the registry notes it

    @property
    def precisions(self) -> tuple[str, ...]:
        """Those that can be made for it: the default, then the others in the order of their table."""
        possible = [
            row.name
            for row in PRECISIONS.values()
            if row.name in self.made_of or (row.convert is not None and row.needs <= self.takes)
        ]
        return (self.default, *(name for name in possible if name != self.default))

    def graphs_of(self, precision: str) -> str:
        """Return the precision of the ONNX graphs that the artifacts of a precision are made of."""
        return self.made_of.get(precision, precision)

    def possible(self, precision: str) -> dict[str, tuple[str, ...]]:
        """Return what can be set for a precision: the values of each setting, the default first."""
        found = dict(self.settings)
        for key in (*sorted(PRECISIONS[precision].needs), precision):
            found |= self.only.get(key, {})
        return found
