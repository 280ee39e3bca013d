"""A run between two iterations: all that decides how it goes on."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maml_cli.core.errors import CheckpointError
from maml_cli.core.learner import MetaParameters


class Outcome(NamedTuple):
    """What the next record takes from one iteration; see MetaStep."""

    loss: Tensor
    query_loss: Tensor
    query_metric: Tensor
    query_steps: tuple[int, ...]
    finite: Tensor
    """Whether loss and meta-gradient were, as a boolean on the device."""


@dataclass(kw_only=True)
class RunState:
    """Changes as the run goes. Episodes and schedules follow from the counters."""

    params: MetaParameters
    optimizer: torch.optim.Optimizer
    """Of `params.theta`, which it updates in place."""
    iteration: int = 0
    """Outer updates done."""
    epoch: int = 0
    """Epochs done, their validation included."""
    scores: dict[int, float] = field(default_factory=dict)
    """The validation metric after each of those epochs."""
    recent: list[Outcome] = field(default_factory=list)
    """Of the iterations since the last record."""
    recent_seconds: float = 0.0
    """Time spent in them."""
    seconds: float = 0.0
    """Time spent in all iterations."""
    skipped: int = 0
    """Iterations that were passed over because they were not finite."""

    def content(self) -> dict[str, Any]:
        """The same as tensors and plain values, to be stored."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "theta": self.params.theta,
            "state": self.params.state,
            "optimizer": self.optimizer.state_dict(),
            "recent": [tuple(outcome) for outcome in self.recent],
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what was stored; raises CheckpointError if the tensors are not the same."""
        for name, now in (("theta", self.params.theta), ("state", self.params.state)):
            if {n: t.shape for n, t in content[name].items()} != {
                n: t.shape for n, t in now.items()
            }:
                raise CheckpointError(
                    f"the checkpoint's {name} has other tensors than this program"
                )
        device = next(iter(self.params.theta.values())).device
        for name, tensor in self.params.theta.items():
            tensor.copy_(content["theta"][name])
        self.params = MetaParameters(
            theta=self.params.theta,
            state={n: t.to(device) for n, t in content["state"].items()},
        )
        self.optimizer.load_state_dict(content["optimizer"])
        self.recent = [
            Outcome(
                loss.to(device), losses.to(device), metrics.to(device), steps, finite.to(device)
            )
            for loss, losses, metrics, steps, finite in content["recent"]
        ]
        for name in _PLAIN:
            setattr(self, name, content[name])


_PLAIN = ("iteration", "epoch", "scores", "recent_seconds", "seconds", "skipped")
