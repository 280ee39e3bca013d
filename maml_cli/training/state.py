"""A run between two iterations: all that decides how it goes on."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from maml_cli.core.algorithm import MetaParameters, flat, misfits, nested
from maml_cli.core.errors import CheckpointError
from maml_cli.training.optimizer_state import load_state


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
            "theta": flat(self.params.theta),
            "state": flat(self.params.state),
            "optimizer": self.optimizer.state_dict(),
            "recent": [tuple(outcome) for outcome in self.recent],
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Take over what was stored; raises CheckpointError if the tensors are not the same."""
        stored = MetaParameters(theta=nested(content["theta"]), state=nested(content["state"]))
        phrases = misfits(self.params, stored) or load_state(self.optimizer, content["optimizer"])
        if phrases:
            raise CheckpointError(
                "the checkpoint has other tensors than this configuration: " + "; ".join(phrases)
            )
        theta = flat(self.params.theta)
        device = next(iter(theta.values())).device
        for name, tensor in theta.items():
            tensor.copy_(content["theta"][name])
        state = {**self.params.state, **stored.to(device).state}  # empty sections are not stored
        self.params = MetaParameters(theta=self.params.theta, state=state)
        self.recent = [
            Outcome(
                loss.to(device), losses.to(device), metrics.to(device), steps, finite.to(device)
            )
            for loss, losses, metrics, steps, finite in content["recent"]
        ]
        for name in _PLAIN:
            setattr(self, name, content[name])


_PLAIN = ("iteration", "epoch", "scores", "recent_seconds", "seconds", "skipped")
