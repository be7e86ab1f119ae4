"""Sessions of many variants of one graph that share its large weights, so that each opens in no time."""

from collections.abc import Collection, Sequence
from typing import Any

import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

from moebius_edge.onnx_tools.sessions import open_session, session_options

SMALLEST = 4096  # bytes; smaller weights (shapes among them) stay in the graph


class Variants:
    """Variants of `model`: graphs without its large weights, and the sessions that get them back."""

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
        """The graph with only these large weights in it: what may be rewritten."""
        model = onnx.ModelProto()
        model.CopyFrom(self.empty)
        for tensor in model.graph.initializer:
            if tensor.name in names and tensor.name in self.weights:
                tensor.CopyFrom(self.weights[tensor.name])
        return model

    def giving(self, names: Sequence[str]) -> onnx.ModelProto:
        """The graph with these float tensors as its outputs."""
        model = onnx.ModelProto()
        model.CopyFrom(self.empty)
        del model.graph.output[:]
        model.graph.output.extend(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
        )
        return model

    def session(self, model: onnx.ModelProto, *, in_order: bool = False) -> Any:
        """An ONNX Runtime session of a rewritten graph. `in_order`: nodes are run in the order of the file
        where possible; the engine's own order may leave what nothing waits for to the end."""
        missing = [t.name for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
        options = session_options()
        # Further optimizations rearrange all weights, which takes longer than the runs that they speed up.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        if in_order:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
        options.add_external_initializers(missing, [self.values[name] for name in missing])
        return open_session(model, options)


def _hollow(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """A large weight without its values, as ONNX marks those that lie elsewhere."""
    if tensor.ByteSize() <= SMALLEST:
        return tensor
    hollow = TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    hollow.data_location = TensorProto.EXTERNAL
    hollow.external_data.add(key="location", value="in memory")
    return hollow
