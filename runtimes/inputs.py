"""Check the arguments of every runtime before an engine sees them, and what runtimes of others give."""

from collections.abc import Mapping

import numpy as np

from moebius_edge.bundle.manifest import GraphSpec, TensorSpec
from moebius_edge.common.errors import InvalidInput, RuntimeUnavailable
from moebius_edge.common.tensors import Array


def graph_spec(graphs: Mapping[str, GraphSpec], graph: str) -> GraphSpec:
    """Return one of a manifest's `graphs`. Raises InvalidInput for one that it does not have."""
    if graph not in graphs:
        raise InvalidInput(f"there is no graph {graph!r}; the bundle has {', '.join(graphs)}")
    return graphs[graph]


def check_outputs(graph: str, specs: tuple[TensorSpec, ...], outputs: object) -> None:
    """Raise RuntimeUnavailable unless `outputs` has arrays of the names, shapes and dtypes of `specs`."""
    if not isinstance(outputs, Mapping):
        raise RuntimeUnavailable(f"{graph} gave a {type(outputs).__name__}; expected a table of arrays")
    for spec in specs:
        value = outputs.get(spec.name)
        if not isinstance(value, np.ndarray):
            raise RuntimeUnavailable(f"{graph} gave no array {spec.name!r}")
        if value.dtype != spec.dtype or value.shape != spec.shape:
            raise RuntimeUnavailable(
                f"{graph} gave {spec.name} as {value.dtype} {list(value.shape)}; expected {spec.dtype} "
                f"{list(spec.shape)}"
            )


def check_inputs(graph: str, specs: tuple[TensorSpec, ...], inputs: Mapping[str, Array]) -> None:
    """Raise InvalidInput unless `inputs` has exactly the names, shapes and dtypes of `specs`."""
    expected = {spec.name: spec for spec in specs}
    if set(inputs) != set(expected):
        raise InvalidInput(f"{graph} got the inputs {sorted(inputs)}; expected {sorted(expected)}")
    for name, spec in expected.items():
        value = inputs[name]
        if not isinstance(value, np.ndarray):
            raise InvalidInput(f"{graph}: {name} is a {type(value).__name__}; expected a numpy array")
        if value.dtype != spec.dtype or value.shape != spec.shape:
            raise InvalidInput(
                f"{graph}: {name} is {value.dtype} {list(value.shape)}; "
                f"expected {spec.dtype} {list(spec.shape)}"
            )
