"""The parts of an inner loop, which do not change during training."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from maml_cli.core.algorithm import Sections
from maml_cli.core.network import Network
from maml_cli.core.objective import Objective
from maml_cli.core.types import Episode, Tensors
from maml_cli.inner.checkpointing import Checkpointing, keep_graph
from maml_cli.inner.feeds import Feed, WholeSupport
from maml_cli.inner.running_stats import InputAverages
from maml_cli.inner.update_rules import UpdateRule
from maml_cli.inner.views import AsTheyAre, View, part_of

Start = Callable[[Sections, Episode], Tensors]
"""Gives the parameters of the network that a task begins with, from theta and the episode."""


def meta_learned(theta: Sections, _: Episode) -> Tensors:
    """Every task begins with the network of theta."""
    return theta["model"]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What every task of an inner loop shares."""

    network: Network
    objective: Objective
    adapts: tuple[str, ...]
    """The parts of the network and of what views add that inner steps change."""
    rule: UpdateRule
    averages: InputAverages | None = None
    """The running statistics of training, if there are any."""
    view: View = AsTheyAre()  # noqa: RUF009 -- holds no state
    feed: Feed = WholeSupport()  # noqa: RUF009
    start: Start = meta_learned
    checkpointing: Checkpointing = keep_graph
    proximal: float = 0.0
    """Weight l of the term `l / 2 |phi - phi_0|^2` in the support loss, phi_0 being the start."""
    last_pull: float = 0.0
    """The queries are answered at `phi - last_pull (phi - phi_0)`; no inner step goes on there."""
    learned: str = "inner_lr"
    """The section of theta that holds what is meta-learned of the rule."""

    def adapted(self, model: Tensors) -> dict[str, Tensor]:
        """The parameters that inner steps change."""
        return {n: p for n, p in model.items() if part_of(n, self.network) in self.adapts}

    @property
    def reuses_features(self) -> bool:
        """Whether features are the same at every step, because the head alone adapts."""
        return self.adapts == ("head",) and self.view.constant and self.feed.whole
