"""What a target's doctor answers: which nodes an accelerator would take, and why not the others."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Fall:
    """Nodes of one operator that a provider leaves to the CPU for one reason."""

    operator: str
    reason: str
    nodes: int
    macs: int  # multiply-accumulates


@dataclass(frozen=True)
class GraphUse:
    """What one provider would do with one graph."""

    graph: str
    nodes: int
    taken: int  # nodes that the provider takes
    partitions: int  # pieces that they lie in: between two of them the data goes to the CPU and back
    macs: int
    macs_taken: int
    falls: tuple[Fall, ...]  # heaviest first
    slow: tuple[Fall, ...] = ()  # of those taken, what runs badly there

    @property
    def share(self) -> float:
        """The part of the multiply-accumulates that the provider takes, 0 to 1."""
        return self.macs_taken / self.macs if self.macs else 1.0


@dataclass(frozen=True)
class ProviderUse:
    """What one provider would do with a bundle."""

    provider: str
    runs_on: str
    source: str  # of the rules
    graphs: tuple[GraphUse, ...]


@dataclass(frozen=True)
class Usability:
    """The answer of `moebius-edge doctor` for a bundle's target."""

    bundle: str
    precision: str
    providers: tuple[ProviderUse, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `json.dumps`."""
        return asdict(self)


def partitions(links: Iterable[tuple[Iterable[str], Iterable[str]]], taken: list[bool]) -> int:
    """Count the pieces that the taken nodes lie in.

    `links`: what each node reads and gives, in topological order; `taken`: whether the provider takes it.
    Nodes are grouped as ONNX Runtime does (`CreateSupportedPartitionNodeGroups`): all nodes that can run in a
    stage before any left node that needs them make one piece; a left node that needs a taken one ends its
    stage.
    """
    stage: dict[str, tuple[int, bool]] = {}  # output -> (stage, whether its node was taken)
    stages = set()
    for (reads, gives), mine in zip(links, taken, strict=True):
        before = [stage[name] for name in reads if name in stage]
        now = max((number + (theirs and not mine) for number, theirs in before), default=0)
        stage.update(dict.fromkeys(gives, (now, mine)))
        if mine:
            stages.add(now)
    return len(stages)
