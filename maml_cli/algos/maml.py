"""The MAML family: one algorithm of different parts.

Sources: Finn, Abbeel & Levine 2017 (MAML); Antoniou, Edwards & Storkey 2019 (MAML++); Li, Zhou,
Chen & Li 2017 (Meta-SGD); Raghu et al. 2020 (ANIL); Oh et al. 2021 (BOIL); Lee & Choi 2018 (T-net,
MT-net); Zintgraf et al. 2019 (CAVIA); Park & Oliva 2019 (Meta-Curvature); Baik et al. 2020 (ALFA);
Rajeswaran et al. 2019 (iMAML).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass as settings

from maml_cli.algos.gradient_learner import GradientLearner
from maml_cli.algos.implicit_learner import ImplicitLearner
from maml_cli.algos.maml_checks import contradictions
from maml_cli.core.errors import UsageError
from maml_cli.core.experiment import Experiment
from maml_cli.core.network import Network, Part
from maml_cli.core.schedules import cosine, outer_rate
from maml_cli.core.settings import STRICT, AlgorithmDefaults, OnlyWith, TrainSettings
from maml_cli.core.types import Progress, TaskSource
from maml_cli.inner.checkpointing import keep_graph, recompute
from maml_cli.inner.contexts import context_view
from maml_cli.inner.curvature import MetaCurvature
from maml_cli.inner.directions import DIRECTIONS, optional_toggles
from maml_cli.inner.generated_rates import GeneratedRates
from maml_cli.inner.implicit import Implicit
from maml_cli.inner.loop import InnerLoop
from maml_cli.inner.masks import MASKS
from maml_cli.inner.outer_loss import InnerLoopPhase, last_step, multi_step
from maml_cli.inner.rates import ConstantRate, LearnedRates, Rates
from maml_cli.inner.running_stats import InputAverages, source_shapes
from maml_cli.inner.update_rules import Descent, Mapped, UpdateRule
from maml_cli.inner.views import NormPerStep, View, chained
from maml_cli.inner.warp import Warp

RELEASED_SHIFT = 10.0
"""What iMAML's official code adds to lambda in its system."""

WARM_UP = 0.05
"""Share of training in which queries are normalised by their batch, while averages are gathered."""


@settings(frozen=True, kw_only=True, config=STRICT)
class MAML(AlgorithmDefaults):
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
        list[Part | Literal["context"]],
        Field(min_length=1, description="what inner steps change: parts of the network, context"),
    ]
    order: Annotated[Literal[1, 2], Field(description="1: inner gradients count as constants")]
    msl: Annotated[bool, Field(description="multi-step loss")]
    msl_epochs: Annotated[
        int, Field(ge=1, description="epochs until the last step alone counts"), OnlyWith("msl")
    ]
    da: Annotated[bool, Field(description="derivative-order annealing: first order at first")]
    da_epochs: Annotated[int, Field(ge=0, description="epochs of first order"), OnlyWith("da")]
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
    warp: Annotated[bool, Field(description="a learned linear map after every layer (T-net)")]
    mask: Annotated[
        Literal["none", "unit", "weight"],
        Field(description="units that change, drawn for a task, or weights, at each step (MT-net)"),
    ]
    curvature: Annotated[bool, Field(description="learned matrices on gradients (Meta-Curvature)")]
    alfa: Annotated[bool, Field(description="a network generates inner rates and weight decay")]
    contexts: Annotated[
        int, Field(ge=0, le=10_000, description="numbers of the adapted context (CAVIA); 0: none")
    ]
    film: Annotated[
        int | None,
        Field(description="batch norm that the context modulates, from 0; null: last but one"),
    ]
    implicit: Annotated[
        bool, Field(description="meta-gradient from the end of the inner loop alone (iMAML)")
    ]
    cg_steps: Annotated[
        int,
        Field(ge=1, le=1000, description="of conjugate gradients (iMAML)"),
        OnlyWith("implicit"),
    ]
    cg_damping: Annotated[
        float, Field(ge=0, description="added to the identity (iMAML)"), OnlyWith("implicit")
    ]
    released_system: Annotated[
        bool, Field(description="of iMAML's official code: another system, no proximal steps")
    ]

    @property
    def anneals(self) -> bool:
        """With `ca`."""
        return self.ca

    def check(self, experiment: Experiment) -> list[str]:
        """One sentence for each combination that contradicts itself."""
        return contradictions(self, experiment)

    def toggles(self) -> dict[str, bool | str]:
        """The switches in force, and what adapts."""
        names = ("msl", "da", "bnrs", "bnwb", "lslr", "ca", "rate_per_weight")
        return {
            **{name: getattr(self, name) for name in names},
            "second_order": self.order == 2,
            **optional_toggles(self.inner_optimizer, self.proximal),
            **self._geometry(),
            "adapts": " and ".join(self.adapts),
        }

    def _geometry(self) -> dict[str, bool | str]:
        """The switches of learned geometry that are on."""
        named: dict[str, bool | str] = {
            name: True for name in ("warp", "curvature", "alfa", "implicit") if getattr(self, name)
        }
        if self.mask != "none":
            named["mask"] = self.mask
        if self.contexts:
            named["contexts"] = str(self.contexts)
        if self.released_system:
            named["released_system"] = True
        return named

    def build(self, network: Network, source: TaskSource, train: TrainSettings) -> GradientLearner:
        """Turn the switches into parts."""
        steps = self.inner_steps
        inner = InnerLoop(
            network=network,
            objective=source.objective,
            adapts=tuple(self.adapts),
            rule=self._rule(),
            view=chained(self._views(network)),
            averages=self._averages(network, train),
            checkpointing=recompute if self.recompute else keep_graph,
            proximal=0.0 if self.released_system else self.proximal,
            last_pull=self.inner_lr * self.proximal if self.released_system else 0.0,
        )
        annealed = cosine(train.outer_lr, train.min_outer_lr)
        learner = self._implicit_learner() if self.implicit else GradientLearner
        return learner(
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

    def _views(self, network: Network) -> Iterator[View]:
        """What the network sees of the parameters, one view after the other."""
        if self.bnwb:
            yield NormPerStep(network=network, steps=self.inner_steps)
        if self.warp:
            yield Warp(network=network)
        if self.contexts:
            yield context_view(network, self.contexts, self.film)

    def _rule(self) -> UpdateRule:
        """What a step does: a rule, whose gradient the curvature and then the mask may change."""
        direction = DIRECTIONS[self.inner_optimizer]
        rule: UpdateRule = Descent(direction=direction, rates=self._rates())
        if self.alfa:
            rule = GeneratedRates(rate=self.inner_lr, steps=self.inner_steps)
        if self.mask != "none":
            rule = Mapped(name="mask", map=MASKS[self.mask], rule=rule)
        if self.curvature:
            rule = Mapped(name="curvature", map=MetaCurvature(), rule=rule)
        return rule

    def _implicit_learner(self) -> Callable[..., GradientLearner]:
        """The learner, but for what all learners of the family have."""
        shift = RELEASED_SHIFT if self.released_system else 0.0
        implicit = Implicit(
            steps=self.inner_steps,
            proximal=self.proximal + shift,
            cg_steps=self.cg_steps,
            damping=self.cg_damping,
        )
        return partial(ImplicitLearner, implicit=implicit)

    def _rates(self) -> Rates:
        if not (self.lslr or self.rate_per_weight):
            return ConstantRate(self.inner_lr)
        return LearnedRates(
            low=self.inner_lr,
            high=self.inner_lr if self.inner_lr_max is None else self.inner_lr_max,
            rows=self.inner_steps if self.lslr else 1,
            per_weight=self.rate_per_weight,
        )
