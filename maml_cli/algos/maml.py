"""MAML, first-order MAML, MAML++, Meta-SGD, ANIL and BOIL: one algorithm of different parts.

Sources: Finn, Abbeel & Levine 2017 (MAML); Antoniou, Edwards & Storkey 2019 (MAML++); Li, Zhou,
Chen & Li 2017 (Meta-SGD); Raghu et al. 2020 (ANIL); Oh et al. 2021 (BOIL).
"""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.core.experiment import Backbone, Experiment
from maml_cli.core.recompute import keep_graph, keep_inputs
from maml_cli.core.schedules import constant, cosine
from maml_cli.core.settings import STRICT, TrainSettings
from maml_cli.core.types import Progress, TaskSource
from maml_cli.engines.engine import Engine
from maml_cli.inner.descent import Descent
from maml_cli.inner.norm_rows import NormPerStep, SharedNorm
from maml_cli.inner.partition import Part, part_of
from maml_cli.inner.rates import ConstantRate, LearnedRates, Rates
from maml_cli.inner.running_stats import RunningStats
from maml_cli.inner.step_weights import last_step, multi_step


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
    adapts: Annotated[
        list[Part],
        Field(min_length=1, description="parts of the network that inner steps change"),
    ]
    order: Annotated[Literal[1, 2], Field(description="1: inner gradients count as constants")]
    msl: Annotated[bool, Field(description="multi-step loss")]
    msl_epochs: Annotated[int, Field(ge=1, description="epochs until the last step alone counts")]
    da: Annotated[bool, Field(description="derivative-order annealing: first order at first")]
    da_epochs: Annotated[int, Field(ge=0, description="epochs of first order")]
    bnrs: Annotated[bool, Field(description="batch-norm running statistics per step")]
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
    def splits(self) -> bool:
        return True

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, and what adapts."""
        names = ("msl", "da", "bnrs", "bnwb", "lslr", "ca", "rate_per_weight")
        return {
            **{name: getattr(self, name) for name in names},
            "second_order": self.order == 2,
            "adapts": " and ".join(self.adapts),
        }

    def build(
        self, backbone: Backbone, source: TaskSource, train: TrainSettings, engine: Engine
    ) -> GradientLearner:
        """Turn the switches into parts."""
        steps = self.inner_steps
        descent = Descent(
            forward=backbone.apply,
            objective=source.objective,
            rates=self._rates(),
            norm_rows=NormPerStep(steps) if self.bnwb else SharedNorm(),
            running_stats=RunningStats(rows=steps if self.bnrs else 1),
            adapts=lambda name: part_of(name) in self.adapts,
        )
        return GradientLearner(
            steps=steps,
            init_network=partial(backbone.init, source.input_shape, source.output_size),
            descent=descent,
            engine=engine,
            keep=keep_inputs if self.recompute else keep_graph,
            step_weights=multi_step(steps, self.msl_epochs) if self.msl else last_step(steps),
            order=first_order_until(self.da_epochs) if self.da else lambda _: self.order,
            outer_lr=cosine(train.outer_lr, train.min_outer_lr)
            if self.ca
            else constant(train.outer_lr),
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


def first_order_until(epochs: int) -> Callable[[Progress], int]:
    """Order 1 for the first `epochs` epochs, then 2 (MAML++, "DA")."""
    return lambda progress: 1 if progress.epoch < epochs else 2
