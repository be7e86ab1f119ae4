"""Run ML programs on macOS, through coremltools and Apple's own runtime."""

import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from moebius_edge.bundle.folder import REPAIR, Bundle
from moebius_edge.common.errors import RuntimeUnavailable
from moebius_edge.common.memory import trim_memory
from moebius_edge.common.silence import silenced_coremltools
from moebius_edge.common.tensors import Array
from moebius_edge.runtimes import find_runtime, mlpackage
from moebius_edge.runtimes.inputs import check_inputs, graph_spec


class CoreMLRuntime:
    """A runtime for a bundle's ML programs, where Core ML is available."""

    name = "coreml"

    def __init__(self, bundle: Bundle, threads: int | None = None, unit: str | None = None) -> None:
        """Keep the bundle; models are loaded at first use, and Core ML chooses its threads, not `threads`.

        `unit`: a name of `coremltools.ComputeUnit`; None: the first of the runtime's row. Raises
        RuntimeUnavailable off macOS.
        """
        row = find_runtime(self.name)
        if row.system is not None and sys.platform != row.system.platform:
            raise RuntimeUnavailable(
                f"Core ML runs on {row.system.name} alone; --runtime {row.instead} interprets the same "
                "packages here, slowly"
            )
        self.bundle, self.unit = bundle, unit or row.units[0]
        self._models: dict[str, Any] = {}

    def run(self, graph: str, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Evaluate one graph; names, shapes and dtypes as in the manifest.

        Raises InvalidInput for other inputs, BundleError for a package that is not what this project writes,
        and RuntimeUnavailable when Core ML cannot load or run the graph.
        """
        spec = graph_spec(self.bundle.manifest.graphs, graph)
        check_inputs(graph, spec.inputs, inputs)
        if graph not in self._models:
            self._models[graph] = self._load(spec.file)
        try:
            outputs = self._models[graph].predict(dict(inputs))
        except RuntimeError as error:
            raise RuntimeUnavailable(f"Core ML cannot run {graph} on {self.unit}: {error}") from error
        return {output.name: np.asarray(outputs[output.name], np.float32) for output in spec.outputs}

    def devices(self, graph: str) -> dict[str, int]:
        """Count the operators of a loaded graph by the device that Core ML prefers.

        The source is `MLComputePlan` (macOS 14.4); on an older system the result is empty.
        """
        with silenced_coremltools():
            import coremltools as ct  # noqa: PLC0415
            from coremltools.models.compute_plan import MLComputePlan  # noqa: PLC0415
        model = self._models[graph]
        try:
            plan = MLComputePlan.load_from_path(
                model.get_compiled_model_path(), compute_units=ct.ComputeUnit[self.unit]
            )
            operations = plan.model_structure.program.functions["main"].block.operations
        except (RuntimeError, ValueError, AttributeError):  # an older system has no plans
            return {}
        uses = (plan.get_compute_device_usage_for_mlprogram_operation(each) for each in operations)
        names = (type(use.preferred_compute_device).__name__ for use in uses if use is not None)
        return dict(Counter(name.removeprefix("ML").removesuffix("ComputeDevice") for name in names))

    def release(self, graph: str) -> None:
        """Free the graph's model. Raises InvalidInput for a graph that the bundle does not have."""
        graph_spec(self.bundle.manifest.graphs, graph)
        if self._models.pop(graph, None) is not None:
            trim_memory()

    def _load(self, file: str) -> Any:
        mlpackage.require_own(self.bundle.file(file))
        with silenced_coremltools():
            import coremltools as ct  # noqa: PLC0415
        try:
            return ct.models.MLModel(str(self.bundle.file(file)), compute_units=ct.ComputeUnit[self.unit])
        except Exception as error:
            raise RuntimeUnavailable(f"Core ML cannot load {file}: {error}; {REPAIR}") from error
