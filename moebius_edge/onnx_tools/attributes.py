"""Attributes of ONNX nodes."""

from typing import Any

import onnx
from onnx import helper


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """By name: numbers, lists, bytes for strings, tensors; only those that the node has."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
