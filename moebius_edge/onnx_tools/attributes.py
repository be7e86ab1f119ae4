"""Read the attributes of ONNX nodes."""

from typing import Any

import onnx
from onnx import helper


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """Return the attributes of a node by name: numbers, lists, bytes for strings, tensors.

    Only those that the node has: defaults are not filled in.
    """
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
