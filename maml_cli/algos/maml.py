"""MAML, first-order MAML, MAML++, Meta-SGD, ANIL and BOIL: one algorithm of different parts.

Sources: Finn, Abbeel & Levine 2017 (MAML); Antoniou, Edwards & Storkey 2019 (MAML++); Li, Zhou,
Chen & Li 2017 (Meta-SGD); Raghu et al. 2020 (ANIL); Oh et al. 2021 (BOIL).
"""

from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network, Part
from maml_cli.core.schedules import cosine, outer_rate
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import Progress, TaskSource
from maml_cli.inner.checkpointing import keep_graph, recompute
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.outer_loss import InnerLoopPhase, last_step, multi_step
from maml_cli.inner.rates import ConstantRate, LearnedRates, Rates
from maml_cli.inner.running_stats import InputAverages, source_shapes
from maml_cli.inner.update_rules import DIRECTIONS, Descent, optional_toggles
from maml_cli.inner.views import AsTheyAre, NormPerStep

WARM_UP = 0.05
"""Share of training in which queries are normalised by their batch, while averages are gathered."""


@settings(frozen=True, kw_only=True, config=STRICT)
class MAML:
    """The settings of the MAML family: each of MAML++'s six changes is one switch."""

    name: str
    inner_steps: Annotated[int, Field(ge=1, le=1000, description="gradient steps per episode")]
    inner_lr: Annotated[
        float,
        Field(ge=-10, le=10, description="inner learning rate; if learned, at the start"),
    ]
    inner_lr_max: Annotated[
        float | None,
        Field(le=10, description="learned rates start between inner_lr and this; null: at it"),
    ]
    inner_optimizer: Annotated[
        Literal["sgd", "momentum", "adam"],
        Field(description="of the inner loop; momentum 0.9; adam with its usual constants"),
    ]
    proximal: Annotated[
        float,
        Field(ge=0, description="weight l of l/2 |phi - theta|^2 in the support loss; 0: none"),
    ]
    adapts: Annotated[
        list[Part],
        Field(min_length=1, description="parts of the network that inner steps change"),
    ]
    order: Annotated[Literal[1, 2], Field(description="1: inner gradients count as constants")]
    msl: Annotated[bool, Field(description="multi-step loss")]
    msl_epochs: Annotated[int, Field(ge=1, description="epochs until the last step alone counts")]
    da: Annotated[bool, Field(description="derivative-order annealing: first order at first")]
    da_epochs: Annotated[int, Field(ge=0, description="epochs of first order")]
    bnrs: Annotated[
        bool, Field(description="running statistics per step, with train.bn_stats=running")
    ]
    bnwb: Annotated[bool, Field(description="batch-norm weights and biases per step")]
    lslr: Annotated[bool, Field(description="learned inner rate per tensor and step")]
    rate_per_weight: Annotated[
        bool,
        Field(description="learned inner rate per weight; with lslr, per weight and step"),
    ]
    ca: Annotated[bool, Field(description="cosine annealing of the outer learning rate")]
    recompute: Annotated[
        bool,
        Field(description="inner steps again in the backward pass: less memory, slower"),
    ]

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        problems = experiment.run.check_train_ways(self.name)
        problems += experiment.train.check_annealing() if self.ca else []
        if self.da and self.order == 1:
            problems.append(
                "algo.da=true anneals to second order, but algo.order=1: "
                "set algo.order=2 or algo.da=false"
            )
        if self.bnwb and "norm" in self.adapts:
            problems.append(
                "algo.bnwb=true gives every inner step its own batch-norm weights, which an inner "
                "step of algo.adapts=[norm] would change for no later step: "
                "leave norm out of algo.adapts or set algo.bnwb=false"
            )
        if experiment.eval.bn_stats == "running" and experiment.train.bn_stats != "running":
            problems.append(
                f"eval.bn_stats=running: with train.bn_stats={experiment.train.bn_stats} no "
                "running statistics are gathered, and without them in training accuracy falls to "
                "about half (docs/results.md): train with train.bn_stats=running"
            )
        if self.inner_lr_max is None:
            return problems
        if not (self.lslr or self.rate_per_weight):
            problems.append(
                f"algo.inner_lr_max={self.inner_lr_max} is where learned rates start, but none "
                "are learned: set algo.inner_lr_max=null, algo.lslr=true or "
                "algo.rate_per_weight=true"
            )
        if self.inner_lr_max < self.inner_lr:
            problems.append(
                f"algo.inner_lr_max={self.inner_lr_max} is below algo.inner_lr={self.inner_lr}: "
                "raise it or set it to null"
            )
        return problems

    @property
    def together(self) -> bool:
        """See `Algorithm.together`."""
        return False

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, and what adapts."""
        names = ("msl", "da", "bnrs", "bnwb", "lslr", "ca", "rate_per_weight")
        return {
            **{name: getattr(self, name) for name in names},
            "second_order": self.order == 2,
            **optional_toggles(self.inner_optimizer, self.proximal),
            "adapts": " and ".join(self.adapts),
        }

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> GradientLearner:
        """Turn the switches into parts."""
        steps = self.inner_steps
        inner = InnerLoop(
            network=network,
            objective=source.objective,
            adapts=tuple(self.adapts),
            rule=Descent(direction=DIRECTIONS[self.inner_optimizer], rates=self._rates()),
            view=NormPerStep(network=network, steps=steps) if self.bnwb else AsTheyAre(),
            averages=self._averages(network, train),
            checkpointing=recompute if self.recompute else keep_graph,
            proximal=self.proximal,
        )
        annealed = cosine(train.outer_lr, train.min_outer_lr)
        return GradientLearner(
            steps=steps,
            outputs=source.output_size,
            inner=inner,
            schedule=partial(self._phase, train.bn_stats),
            outer_lr_schedule=annealed if self.ca else outer_rate(train),
        )

    def _averages(self, network: Network, train: TrainSettings) -> InputAverages | None:
        """The running statistics of training; raises UsageError where they cannot work."""
        if train.bn_stats != "running" or not network.norms:
            return None
        if alone := [layer for layer, shape in source_shapes(network).items() if shape is None]:
            raise UsageError(
                f"train.bn_stats=running: the batch norms {', '.join(alone)} do not follow a "
                "convolution or linear layer directly, so that no average of its inputs can follow "
                "an adapted network: choose train.bn_stats=batch or support"
            )
        return InputAverages(rows=self.inner_steps if self.bnrs else 1)

    def _phase(self, bn_stats: str, progress: Progress) -> InnerLoopPhase:
        steps, first_order = self.inner_steps, self.da and progress.epoch < self.da_epochs
        warm_up = bn_stats == "running" and progress.iteration < WARM_UP * progress.iterations
        return InnerLoopPhase(
            bn_stats="batch" if warm_up else bn_stats,
            order=1 if first_order else self.order,
            step_weights=multi_step(steps, self.msl_epochs, progress)
            if self.msl
            else last_step(steps),
        )

    def _rates(self) -> Rates:
        if not (self.lslr or self.rate_per_weight):
            return ConstantRate(self.inner_lr)
        return LearnedRates(
            low=self.inner_lr,
            high=self.inner_lr if self.inner_lr_max is None else self.inner_lr_max,
            rows=self.inner_steps if self.lslr else 1,
            per_weight=self.rate_per_weight,
        )
