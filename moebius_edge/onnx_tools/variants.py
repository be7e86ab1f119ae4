"""Open many variants of one graph fast: their sessions share its large weights."""

from collections.abc import Collection, Sequence
from typing import Any

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.onnx_tools.sessions import open_session, session_options

SMALLEST = 4096  # bytes; smaller weights (shapes among them) stay in the graph


class Variants:
    """Variants of `model`: graphs without its large weights, and the sessions that get these back.

    A variant is made by `holding` or `giving`, changed, and opened by `session`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.weights = {
            tensor.name: tensor for tensor in model.graph.initializer if tensor.ByteSize() > SMALLEST
        }
        self.values = {
            name: ort.OrtValue.ortvalue_from_numpy(numpy_helper.to_array(tensor))
            for name, tensor in self.weights.items()
        }
        graph = model.graph
        self.empty = helper.make_model(
            helper.make_graph(
                graph.node, graph.name, graph.input, graph.output, [_hollow(t) for t in graph.initializer]
            ),
            opset_imports=model.opset_import,
            ir_version=model.ir_version,
        )

    def holding(self, names: Collection[str]) -> onnx.ModelProto:
        """Return the graph with only the large weights `names` in it: those that may be rewritten."""
        model = onnx.ModelProto()
        model.CopyFrom(self.empty)
        for tensor in model.graph.initializer:
            if tensor.name in names and tensor.name in self.weights:
                tensor.CopyFrom(self.weights[tensor.name])
        return model

    def giving(self, names: Sequence[str]) -> onnx.ModelProto:
        """Return the graph with the float tensors `names` as its outputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self.empty)
        del model.graph.output[:]
        model.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
        )
        return model

    def session(self, model: onnx.ModelProto, *, in_order: bool = False) -> Any:
        """Open an ONNX Runtime session of a variant; it gets the large weights that the variant lacks.

        `in_order`: nodes are run in the order of the file where possible; the engine's own order may leave
        what nothing waits for to the end.
        """
        missing = [t.name for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
        options = session_options()
        # Further optimizations rearrange all weights, which takes longer than the runs that they speed up.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        if in_order:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        options.add_external_initializers(missing, [self.values[name] for name in missing])
        return open_session(model, options)


def _hollow(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """Return a large weight without its values, as ONNX marks values that lie elsewhere, or a small one."""
    if tensor.ByteSize() <= SMALLEST:
        return tensor
    hollow = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    hollow.data_location = TensorProto.EXTERNAL
    hollow.external_data.add(key="location", value="in memory")
    return hollow
