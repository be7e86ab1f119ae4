"""Hold what the two trainings share: model, optimiser, average, clock, and checkpoints to go on from."""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moebius_edge.training.loop import Budget, Clock, load_state, require_same, save_state, train
from moebius_edge.training.optim import Average, Optimizers, cosine, mixes_channels
from moebius_edge.training.parallel import Workers

UNCAPTURED = object()  # a phase that no run has
AHEAD = 2  # captured steps that the host may be ahead of the device
GO_ON = 0.3  # learning rate of a run that starts from trained weights, against a fresh one's


@dataclass(frozen=True)
class TrainingOptions:
    """How a model is trained, whatever it is."""

    run: Path  # where checkpoint, weights and sheets go; an existing checkpoint is continued
    sheet_photos: Path | None = None  # photos for the sample sheet, never trained on
    seed: int = 0
    batch: int = 8  # examples per step
    lr: float = 2.5e-3  # after the warm-up; Muon's, and AdamW's for what is no matrix
    ema: float = 0.995  # decay of the averaged weights per step
    clip: float = 2.0  # largest norm of the gradient
    device: str = "cuda" if torch.cuda.is_available() else "cpu"
    bf16: bool = True  # autocast
    # With torch.compile; where that fails the model runs as it is. On an H100 beside slow cores it took 74 s
    # for the autoencoder and over 3 minutes for the U-Net: for runs of hours.
    compile: bool = False
    capture: bool = False  # steps as one CUDA graph; where that fails, one by one
    parts: int = 1  # a step's examples are worked on in as many parts,
    workers: int = 1  # by as many threads (1 on a GPU)


def compile_in_place(modules: Iterable[nn.Module]) -> None:
    """Compile the forward passes of modules for the shapes that they meet; state dicts keep their names.

    Modules of one class and shape share their code. One that cannot be compiled runs as it is, and torch says
    so in a warning.
    """
    torch._dynamo.config.suppress_errors = True
    torch._dynamo.config.recompile_limit = 64
    for module in modules:
        module.compile(dynamic=False)


class Trainer(ABC):
    """One run of a training. Subclasses give the parts of a step, a part's loss, and what is written."""

    file = ""  # name of the checkpoint

    def __init__(
        self,
        model: nn.Module,
        options: TrainingOptions,
        config: dict[str, Any],
        budget: Budget,
        generators: dict[str, torch.Generator],
    ) -> None:
        # Generators and optimisers of one kind of device mean nothing on another.
        self.architecture = {**config, "device": options.device}
        self.options, self.generators = options, generators
        self.model = model.train().to(options.device)
        self.workers = Workers(options.workers)
        self.optimizers = Optimizers(self.model, options.lr, self.is_matrix)
        self.average = Average(self.model, options.ema)
        self.clock = Clock(budget)
        self.graph: torch.cuda.CUDAGraph | None = None
        self.captured: Any = UNCAPTURED
        self.captured_loss = torch.zeros(())
        self.replayed: deque[torch.cuda.Event] = deque()
        # float32 products in TF32 where there is such a thing: the optimiser's matrices need no more.
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = True  # shapes are the same in every step

    @staticmethod
    def is_matrix(name: str, weight: Tensor) -> bool:
        """Tell whether a weight is trained by Muon."""
        return mixes_channels(name, weight)

    @abstractmethod
    def parts(self) -> list[Any]:
        """Return the examples of one step, in parts."""

    @abstractmethod
    def loss(self, part: Any) -> Tensor:
        """Return the mean loss of one part."""

    @abstractmethod
    def write(self, last: bool) -> None:
        """Write the weights.

        `last`: also what takes longer, such as pictures to look at. True at the end of a run and, where time
        is not lent, whenever a checkpoint is saved.
        """

    def alongside(self) -> None:  # noqa: B027 (not every training has any)
        """Do other work of a step; by default there is none."""

    def examples(self) -> int:
        """Return how many examples the next step has."""
        return self.options.batch

    def schedule(self) -> None:
        """Set what changes along the run, before a step."""
        self.optimizers.schedule(cosine(self.clock.progress))
        self.average.schedule()

    def phase(self) -> Any:
        """Return what of the run's progress is built into a captured step.

        When it changes, a step is captured anew.
        """
        return None

    def step(self) -> Tensor:
        """Make one update; returns its loss without waiting for it."""
        self.schedule()
        if self.options.capture and self.captured != self.phase():
            self._capture()
        if self.graph is None:
            return self.update()
        self.graph.replay()
        # The host would run a thousand steps ahead, and with it the clock.
        self.replayed.append(torch.cuda.current_stream().record_event())
        if len(self.replayed) > AHEAD:
            self.replayed.popleft().synchronize()
        return self.captured_loss

    def update(self) -> Tensor:
        """Do the work of a step, all on the device, and return its loss."""
        loss = self.workers.gradients(self.model, self.parts(), self.loss, alongside=self.alongside)
        nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)
        self.optimizers.step()
        self.average.update(self.model)
        return loss

    def _capture(self) -> None:
        """Capture `update` as a CUDA graph, after three updates on the side that set up what is lazy.

        A step of the U-Net has some 6,000 launches; uncaptured, one took 0.39 s with an H100.
        """
        self.captured, self.graph = self.phase(), None
        try:
            stream = torch.cuda.current_stream()
            side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            side.wait_stream(stream)
            with torch.cuda.stream(side):
                for _ in range(3):
                    self.update()
            stream.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            for generator in self.generators.values():
                graph.register_generator_state(generator)
            with torch.cuda.graph(graph):
                self.captured_loss = self.update()
            self.graph = graph
        except (RuntimeError, AssertionError) as error:
            if torch.cuda.is_available():
                torch.cuda.set_stream(stream)  # a failed capture leaves its own behind
            cause: BaseException = error
            while cause.__context__ is not None:  # the last one only says that there was one before
                cause = cause.__context__
            reason = str(cause).splitlines()[0]
            print(f"steps are not captured as a CUDA graph, which is slower: {reason}", flush=True)

    def autocast(self) -> torch.autocast:
        # No cache of cast weights: it is shared between threads.
        """Return a context in which forward passes are computed in bfloat16, if the options say so."""
        return torch.autocast(self.options.device, torch.bfloat16, self.options.bf16, cache_enabled=False)

    def state(self) -> dict[str, Any]:
        """Return all that a checkpoint holds: tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.values,
            "average_updates": self.average.updates,
            "optimizers": self.optimizers.state_dict(),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "steps": self.clock.steps,
            "seconds": self.clock.seconds,
            "finished": self.clock.done,
            "config": self.architecture,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint. Raises `CheckpointError` if it is of another architecture."""
        require_same(state["config"], self.architecture, self.options.run)
        self.model.load_state_dict(state["model"])
        for name, value in state["average"].items():
            self.average.values[name].copy_(value)
        self.average.updates = state["average_updates"]
        self.optimizers.load_state_dict(state["optimizers"])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name].cpu())
        self.clock.steps, self.clock.seconds = state["steps"], state["seconds"]
        self.clock.finished = state["finished"] and self.clock.budget.steps is None

    def save(self, last: bool = False) -> None:
        """Write the checkpoint and the weights. `last`: at the end of the run."""
        save_state(self.options.run / self.file, self.state())
        self.write(last or not self.clock.budget.wall)

    def train(self, losses: list[float] | None = None) -> None:
        """Train, or go on training. `losses` receives every step's loss."""
        checkpoint = self.options.run / self.file
        if checkpoint.exists():
            self.restore(load_state(checkpoint))
        if self.options.compile and not self.clock.done:
            self.warm_up()
        train(self.clock, self.step, self.save, losses, self.examples)

    def warm_up(self) -> None:
        """Compile by one step without an update, before the schedule begins."""
        begun = time.monotonic()
        self.schedule()
        self.workers.gradients(self.model, self.parts(), self.loss).item()
        self.model.zero_grad()
        taken = time.monotonic() - begun
        print(f"compiled in {taken:.0f} s", flush=True)
