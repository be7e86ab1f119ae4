"""Read what an .ort file says of its graph, without the engine and without loading its weights.

The format is a FlatBuffer; `SCHEMA` is what ONNX Runtime's own schema (`ort.fbs`) says. All that the engine
makes a copy of is read, and so counted. What no exporter of this project writes is refused: see `read`.
"""

import mmap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moebius_edge.runtimes.flatbuffer import REFUSED, FlatBuffer, Schema
from moebius_edge.runtimes.onnx_file import (
    MAX_ENDS,
    MAX_INTEGERS,
    MAX_NODES,
    MAX_RANK,
    MAX_STRUCTURE,
    Node,
    OnnxFile,
    Tensor,
    node_kind,
)

IDENTIFIER = b"ORTM"
MAX_PARTS = 1_000_000  # tables and texts: a few seconds
MAX_INDEX = 4 * MAX_NODES  # the engine makes a place for each number; optimized graphs have gaps
INT, STRING, TENSOR, INTS = 2, 3, 4, 7  # AttributeType
FLOATS = (1, 6)
IS_TENSOR = 1  # TypeInfoValue
# Those that the engine joins with a Conv (ConvActivationFusion).
ACTIVATIONS = frozenset({"Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid"})
NO_FILE = -1  # external_data_offset
NONE_OF = f"[{REFUSED}]"

SCHEMA: Schema = {
    "Session": (
        *(("ort_version", "text"), ("model", "Model"), ("session_state", REFUSED)),
        ("kernel_type_str_resolver", "Resolver"),
    ),
    "Model": (
        *(("ir_version", "q"), ("opset_import", "[Opset]"), ("producer_name", "text")),
        *(("producer_version", "text"), ("domain", "text"), ("model_version", "q"), ("doc_string", "text")),
        *(("graph", "Graph"), ("graph_doc_string", "text"), ("metadata_props", "[Pair]")),
    ),
    "Opset": (("domain", "text"), ("version", "q")),
    "Pair": (("key", "text"), ("value", "text")),
    "Graph": (
        *(("initializers", "[Tensor]"), ("node_args", "[Value]"), ("nodes", "[Node]")),
        *(("max_node_index", "I"), ("node_edges", "[Edges]"), ("inputs", "[text]"), ("outputs", "[text]")),
        *(("sparse tensors", NONE_OF), ("runtime_optimizations", "Optimizations")),
    ),
    "Value": (("name", "text"), ("doc_string", "text"), ("type", "Type")),
    "Type": (("denotation", "text"), ("value_type", "B"), ("value", "TensorType")),
    "TensorType": (("elem_type", "i"), ("shape", "Shape")),
    "Shape": (("dim", "[Dimension]"),),
    "Dimension": (("value", "Side"), ("denotation", "text")),
    "Side": (("dim_type", "b"), ("dim_value", "q"), ("dim_param", "text")),
    "Node": (
        *(("name", "text"), ("doc_string", "text"), ("domain", "text"), ("since_version", "i")),
        *(("index", "I"), ("op_type", "text"), ("type", "i"), ("execution_provider_type", "text")),
        *(("inputs", "[text]"), ("outputs", "[text]"), ("attributes", "[Attribute]")),
        *(("input_arg_counts", "[i]"), ("implicit_inputs", "[text]")),
    ),
    "Edges": (("node_index", "I"), ("input_edges", "[Iii]"), ("output_edges", "[Iii]")),
    "Attribute": (
        *(("name", "text"), ("doc_string", "text"), ("type", "i"), ("f", "f"), ("i", "q"), ("s", "text")),
        *(("t", "Tensor"), ("a node with a graph of its own, as Loop, Scan and If have", REFUSED)),
        *(("floats", "[f]"), ("ints", "[q]"), ("strings", "[text]"), ("lists of tensors", NONE_OF)),
        ("a node with graphs of its own", NONE_OF),
    ),
    "Tensor": (
        *(("name", "text"), ("doc_string", "text"), ("dims", "[q]"), ("data_type", "i")),
        *(("raw_data", "raw"), ("stored strings", NONE_OF), ("external_data_offset", "q")),
    ),
    "Optimizations": (("records", "[Optimizer]"),),
    "Optimizer": (("optimizer_name", "text"), ("runtime_optimization_records", "[Record]")),
    "Record": (
        *(("action_id", "text"), ("nodes_to_optimize_indices", "Chosen"), ("unused", REFUSED)),
        ("produced_op_ids", "[text]"),
    ),
    "Chosen": (
        *(("node_indices", "[I]"), ("num_inputs", "I"), ("num_outputs", "I"), ("has_variadic_input", "B")),
        *(("has_variadic_output", "B"), ("num_variadic_inputs", "I"), ("num_variadic_outputs", "I")),
    ),
    "Resolver": (("op_kernel_type_str_args", "[Kernel]"),),
    "Kernel": (("op_id", "text"), ("kernel_type_str_args", "[KernelType]")),
    "KernelType": (("kernel_type_str", "text"), ("args", "[Argument]")),
    "Argument": (("arg_type", "b"), ("index", "I")),
}


@contextmanager
def read(path: Path) -> Iterator[OnnxFile]:
    """Open an .ort file for the time of the block.

    Raises ValueError for what is no .ort file; for stored strings, sparse tensors and graphs inside of nodes
    (Loop, Scan, If); for names that are given twice; for edges that are not those of its nodes; for more than
    `MAX_NODES`, `MAX_PARTS` or `MAX_STRUCTURE`, and weights that are more than the file has.
    """
    with path.open("rb") as file, _mapped(file.fileno(), path) as data:
        if data[4:8] != IDENTIFIER:
            raise ValueError("it is no .ort file")
        session = FlatBuffer(data, SCHEMA, MAX_PARTS, MAX_STRUCTURE).root("Session")
        graph = session.get("model", {}).get("graph", {})
        for value in graph.get("node_args", ()):
            if (kind := value.get("type")) is not None and kind.get("value_type") != IS_TENSOR:
                raise ValueError("it has values that are no tensors")
        tensors = [_tensor(each) for each in graph.get("initializers", ())]
        if sum(end - start for start, end in (each.raw for each in tensors if each.raw)) > len(data):
            raise ValueError("its stored tensors lie on each other")
        nodes = graph.get("nodes", [])
        if len(nodes) > MAX_NODES or graph.get("max_node_index", 0) > MAX_INDEX:
            raise ValueError(f"it has more than {MAX_NODES:,} nodes")
        inputs = graph.get("inputs", [])
        _require_single([*inputs, *(each.name for each in tensors), *_outputs(nodes)])
        order = _ordered(nodes)
        _check_edges(graph, nodes)
        _check_records(graph, nodes)
        found = (_node(nodes[index]) for index in order)
        yield OnnxFile(data, {each.name: each for each in tensors}, inputs, found)


def _mapped(number: int, path: Path) -> mmap.mmap:
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    return mmap.mmap(number, 0, access=mmap.ACCESS_READ)


def _outputs(nodes: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    return (name for node in nodes for name in node.get("outputs", ()) if name)


def _require_single(names: Sequence[str]) -> None:
    """Raise ValueError when two values have one name."""
    if len(set(names)) < len(names):
        raise ValueError("it has two values of the same name")


def _ordered(nodes: Sequence[Mapping[str, Any]]) -> list[int]:
    """Sort nodes: each after those that it needs, and right before the first that needs it.

    The file has fused nodes last; the engine sorts them, too. Raises ValueError when nodes need each other.
    """
    maker = {name: index for index, node in enumerate(nodes) for name in node.get("outputs", ()) if name}
    needs = [[maker[name] for name in node.get("inputs", ()) if name in maker] for node in nodes]
    order: dict[int, None] = {}
    for last in range(len(nodes)):
        path = [(last, iter(needs[last]))]
        open_nodes = {last}
        while path and last not in order:
            index, rest = path[-1]
            needed = next((each for each in rest if each not in order), None)
            if needed is None:
                order[index] = None
                open_nodes.discard(path.pop()[0])
            elif needed in open_nodes:
                raise ValueError("its nodes need each other")
            else:
                open_nodes.add(needed)
                path.append((needed, iter(needs[needed])))
    return list(order)


def _check_edges(graph: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError unless the numbers of the nodes are in order, and the edges what the names say."""
    indices = [node.get("index", 0) for node in nodes]
    known = set(indices)
    if len(known) < len(nodes) or max(known, default=0) >= max(1, graph.get("max_node_index", 0)):
        raise ValueError("the numbers of its nodes are wrong")
    maker = {
        name: (index, i)
        for index, node in zip(indices, nodes, strict=True)
        for i, name in enumerate(node.get("outputs", ()))
        if name
    }
    edges = {
        (*maker[name], index, i)
        for index, node in zip(indices, nodes, strict=True)
        for i, name in enumerate(node.get("inputs", ()))
        if name in maker
    }
    into, out = set(), set()
    for each in graph.get("node_edges", ()):
        end = each.get("node_index", 0)
        into |= {(start, i, end, j) for start, i, j in _triples(each.get("input_edges", ()))}
        out |= {(end, i, to, j) for to, i, j in _triples(each.get("output_edges", ()))}
    if into != edges or out != edges:
        raise ValueError("its edges are not those of its nodes")


def _check_records(graph: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """Raise ValueError unless saved optimizations join a Conv and the activation that reads it.

    Other ones could make operators of other sizes than those that are read here.
    """
    by_index = {node.get("index", 0): node for node in nodes}
    for optimizer in graph.get("runtime_optimizations", {}).get("records", ()):
        for record in optimizer.get("runtime_optimization_records", ()):
            chosen = record.get("nodes_to_optimize_indices", {})
            pair = [by_index.get(each, {}) for each in chosen.get("node_indices", ())]
            fits = len(pair) == 2 and chosen.get("num_inputs", 0) + chosen.get("num_outputs", 0) <= 2
            fits = fits and not {"num_variadic_inputs", "num_variadic_outputs"} & chosen.keys()
            if not fits or record.get("action_id") != "ConvAct" or not _is_activated(*pair):
                raise ValueError("it has saved optimizations that moebius-edge does not write")


def _is_activated(conv: Mapping[str, Any], activation: Mapping[str, Any]) -> bool:
    kinds = conv.get("op_type"), activation.get("op_type")
    domains = {each.get("domain", "") for each in (conv, activation)}
    joined = conv.get("outputs") == activation.get("inputs", [])[:1]
    return kinds[0] == "Conv" and kinds[1] in ACTIVATIONS and domains <= {"", "ai.onnx"} and joined


def _triples(numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    return zip(numbers[::3], numbers[1::3], numbers[2::3], strict=True)


def _node(node: Mapping[str, Any]) -> Node:
    inputs, outputs = node.get("inputs", []), node.get("outputs", [])
    if len(inputs) + len(outputs) > MAX_ENDS:
        raise ValueError(f"a node has more than {MAX_ENDS:,} inputs and outputs")
    if node.get("implicit_inputs"):
        raise ValueError("a node has inputs for graphs of its own, which moebius-edge does not write")
    kind = node_kind(node.get("domain", ""), node.get("op_type", ""))
    attributes = [_attribute(each) for each in node.get("attributes", ())]
    _require_single([name for name, _ in attributes])
    return Node(kind, inputs, outputs, dict(attributes))


def _attribute(attribute: Mapping[str, Any]) -> tuple[str, Any]:
    name, kind = attribute.get("name", ""), attribute.get("type", 0)
    if kind == INT:
        return name, attribute.get("i", 0)
    if kind == STRING:
        return name, attribute.get("s", "")
    if kind == TENSOR:
        return name, _tensor(attribute.get("t", {}))
    if kind == INTS:
        ints = attribute.get("ints", [])
        if len(ints) > MAX_INTEGERS:
            raise ValueError(f"a list has more than {MAX_INTEGERS:,} numbers")
        return name, ints
    if kind in FLOATS:
        return name, None
    raise ValueError(f"a node has an attribute ({name[:40]}) of a kind that moebius-edge does not write")


def _tensor(tensor: Mapping[str, Any]) -> Tensor:
    dims = tensor.get("dims", [])
    if len(dims) > MAX_RANK:
        raise ValueError(f"a tensor has more than {MAX_RANK} dimensions")
    if tensor.get("external_data_offset", NO_FILE) != NO_FILE:
        raise ValueError("it has weights in another file, which moebius-edge does not write")
    raw = tensor.get("raw_data")
    return Tensor(tensor.get("name", ""), tensor.get("data_type", 0), tuple(dims), raw)
