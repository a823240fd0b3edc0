"""One training run: everything that its numbers depend on, and its name."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

BATCH_SIZE = 512
EVALUATIONS_PER_EPOCH = 2


@dataclass(frozen=True)
class RunConfig:
    """What a run is made from; `data` is the fingerprint of the log's files.

    `arguments` are those of the model's constructor that differ from its defaults.
    """

    model: str
    arguments: Mapping[str, Any]
    learning_rate: float
    members: int
    histories: str
    tasks: tuple[str, ...]
    data: str
    epochs: int = 1
    batch_size: int = BATCH_SIZE
    evaluations_per_epoch: int = EVALUATIONS_PER_EPOCH
    seed: int = 0

    @property
    def hash(self) -> str:
        """Eight hexadecimal digits, the same for all seeds."""
        known = {key: value for key, value in self.to_dict().items() if key != "seed"}
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.model}-m{self.members}-{self.histories}-{self.hash}-s{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """JSON values; `from_dict` reads them."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "RunConfig":
        """The configuration that `to_dict` wrote."""
        return cls(**{**plain, "tasks": tuple(plain["tasks"])})

    def with_seed(self, seed: int) -> "RunConfig":
        """The same with another seed."""
        return replace(self, seed=seed)
