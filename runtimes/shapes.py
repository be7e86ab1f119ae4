"""Describe an ONNX operator by the sizes of what it reads and gives, for the rules of `shape_rules`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from moebius_edge.runtimes.onnx_file import Node

Shape = tuple[int, ...]


@dataclass(slots=True)
class Operator:
    """One node with what is known of its inputs."""

    node: Node
    shapes: Sequence[Shape | None]  # of the inputs; None for one that is left away
    stored: Callable[[int], Sequence[float]]  # the numbers of an input; raises ValueError when it is computed

    def shape(self, index: int = 0) -> Shape:
        """Return the shape of an input. Raises ValueError when it is left away."""
        shape = self.shapes[index] if index < len(self.shapes) else None
        if shape is None:
            raise ValueError(f"it needs {index + 1} inputs")
        return shape

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.shapes) and self.shapes[index] is not None

    def integer(self, name: str, otherwise: int = 0) -> int:
        """Return an attribute that is a whole number."""
        value = self.node.attributes.get(name, otherwise)
        return value if isinstance(value, int) else otherwise

    def integers(self, name: str, index: int | None = None) -> list[int] | None:
        """Return a list of whole numbers: the attribute `name`, or the stored input `index`, or None."""
        value = self.node.attributes.get(name)
        if isinstance(value, list):
            return value
        return self.whole(index) if index is not None and self.has(index) else None

    def whole(self, index: int) -> list[int]:
        """Return the whole numbers of an input. Raises ValueError when it is computed."""
        return [int(number) for number in self.stored(index)]


@dataclass(slots=True)
class Result:
    """What an operator gives."""

    shapes: Sequence[Shape]  # of the outputs; the last one stands for those after it, too
    work: int = 0  # multiplications, where they are more than the numbers read and written
