"""What a library must be able to do to be measured, and what those on PyTorch do alike."""

import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.peers.work import Rows, Work, read_log

# The build for CPUs (`2.13.0+cpu`) where pip's indices offer one: a local version sorts above.
TORCH = "torch==2.13.0"


class Adapter:
    """One library: `build` comes first, then `train`, `forward` and `rank` as often as asked for.

    Its library is imported in methods only, since the command runs where it is not installed.

    Attributes:
        library: The library's name as pip knows it.
        requirements: What pip installs; none for our own, which runs where the command runs.
        models: Networks that it has, or whose layers it has.
    """

    library: ClassVar[str]
    requirements: ClassVar[tuple[str, ...]] = ()
    models: ClassVar[tuple[str, ...]]

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.library)

    def build(self, work: Work) -> int:
        """Makes the network, its optimizer and its batches; gives its number of parameters."""
        raise NotImplementedError

    def train(self, steps: int) -> None:
        """Takes steps on batches that lie ready."""
        raise NotImplementedError

    def forward(self, steps: int) -> None:
        """Predicts batches that lie ready, as numpy arrays."""
        raise NotImplementedError

    def rank(self, steps: int) -> None:
        """Answers the work's request, from numpy arrays to numpy arrays."""
        raise NotImplementedError

    def drop(self) -> None:
        """Gives back what `build` made."""
        raise NotImplementedError

    def learn(self, log: Path, work: Work, stepped: Callable[[], None]) -> Mapping[str, float]:
        """From a CSV file to metrics: one epoch, then AUC by task on the last rows.

        Args:
            log: What `write_log` wrote.
            work: The network, and the sizes that do not follow from the log.
            stepped: Is called after the first training step.
        """
        raise NotImplementedError


class TorchAdapter(Adapter):
    """A library whose models are `torch.nn.Module`s.

    A subclass has `module`, what its model reads of arrays (`inputs`, `labels`), and `step`.
    """

    model: Any

    def module(self, work: Work) -> Any:
        """The network."""
        raise NotImplementedError

    def inputs(self, ids: np.ndarray, history: np.ndarray) -> Any:
        """What the model reads, as tensors."""
        raise NotImplementedError

    def labels(self, labels: np.ndarray) -> Any:
        """What the loss reads, as tensors."""
        raise NotImplementedError

    def steps(self, batches: list[tuple[Any, Any]]) -> None:
        """Takes a training step on each batch, by the library's own loop."""
        raise NotImplementedError

    def predict(self, x: Any) -> np.ndarray:
        return self.model(x).numpy()

    def build(self, work: Work) -> int:
        import torch

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.work, self.model = work, self.module(work)
        self.batches = [
            (self.inputs(b.ids, b.history), self.labels(b.labels)) for b in work.batches()
        ]
        self.request = work.request()
        return sum(p.numel() for p in self.model.parameters())

    def train(self, steps: int) -> None:
        self.model.train()
        self.steps([self.batches[i % len(self.batches)] for i in range(steps)])

    def forward(self, steps: int) -> None:
        import torch

        self.model.eval()
        with torch.no_grad():
            for i in range(steps):
                self.predict(self.batches[i % len(self.batches)][0])

    def rank(self, steps: int) -> None:
        # None of these libraries has more for one user than a row for each candidate.
        import torch

        self.model.eval()
        with torch.no_grad():
            for _ in range(steps):
                self.predict(self.inputs(self.request.ids, self.request.history))

    def drop(self) -> None:
        import gc

        self.__dict__.clear()
        gc.collect()

    def learn(self, log: Path, work: Work, stepped: Callable[[], None]) -> Mapping[str, float]:
        import torch

        torch.set_num_threads(1)
        sizes, train, test = read_log(log, work.length)
        work = Work(work.model, work.rows, work.length, work.batch, given=sizes)
        self.work, self.model = work, self.module(work)
        waiting = [stepped]

        def after_step(*_: Any) -> None:
            if waiting:
                waiting.pop()()

        self.optimizer().register_step_post_hook(after_step)
        return dict(zip(work.tasks, self.learn_rows(train, test), strict=True))

    def optimizer(self) -> Any:
        """The optimizer of the model."""
        raise NotImplementedError

    def learn_rows(self, train: Rows, test: Rows) -> list[float]:
        """One epoch by the library's loaders and loop, then AUC by task."""
        raise NotImplementedError
