"""Which settings of the MAML family contradict each other, one sentence for each case."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from maml_cli.core.experiment import Experiment

if TYPE_CHECKING:
    from maml_cli.algos.maml import MAML

Rule = tuple[bool, str]
"""Whether it is broken, and the sentence that says so."""


def contradictions(algo: MAML, experiment: Experiment) -> list[str]:
    """One sentence for each combination that contradicts itself."""
    problems = experiment.run.check_train_ways(algo.name)
    rules = (_maml_plus_plus(algo, experiment), _rates(algo), _contexts(algo), _implicit(algo))
    return problems + [sentence for part in rules for broken, sentence in part if broken]


def _maml_plus_plus(algo: MAML, experiment: Experiment) -> Iterator[Rule]:
    yield (
        algo.da and algo.order == 1,
        "algo.da=true anneals to second order, but algo.order=1: set algo.order=2 or algo.da=false",
    )
    yield (
        algo.bnwb and "norm" in algo.adapts,
        "algo.bnwb=true gives every inner step its own batch-norm weights, which an inner "
        "step of algo.adapts=[norm] would change for no later step: "
        "leave norm out of algo.adapts or set algo.bnwb=false",
    )
    trained_by = experiment.train.bn_stats
    yield (
        experiment.eval.bn_stats == "running" and trained_by != "running",
        f"eval.bn_stats=running: with train.bn_stats={trained_by} no "
        "running statistics are gathered, and without them in training accuracy falls to "
        "about half (docs/results.md): train with train.bn_stats=running",
    )


def _rates(algo: MAML) -> Iterator[Rule]:
    low, high = algo.inner_lr, algo.inner_lr_max
    learned = [key for key in ("lslr", "rate_per_weight") if getattr(algo, key)]
    yield (
        high is not None and not learned,
        f"algo.inner_lr_max={high} is where learned rates start, but none "
        "are learned: set algo.inner_lr_max=null, algo.lslr=true or "
        "algo.rate_per_weight=true",
    )
    yield (
        high is not None and high < low,
        f"algo.inner_lr_max={high} is below algo.inner_lr={low}: raise it or set it to null",
    )
    yield (
        algo.alfa and bool(learned),
        f"algo.alfa=true generates the inner rates, which algo.{' and algo.'.join(learned)} would "
        f"learn: set algo.{'=false and algo.'.join(learned)}=false, or algo.alfa=false",
    )
    yield (
        algo.alfa and algo.inner_optimizer != "sgd",
        f"algo.inner_optimizer={algo.inner_optimizer}: algo.alfa=true generates rates for plain "
        "gradients: set algo.inner_optimizer=sgd or algo.alfa=false",
    )


def _contexts(algo: MAML) -> Iterator[Rule]:
    adapts = ",".join(algo.adapts)
    yield (
        algo.contexts == 0 and "context" in algo.adapts,
        f"algo.contexts=0: algo.adapts=[{adapts}] adapts a context without numbers: set "
        "algo.contexts to 1 or more, or leave context out of algo.adapts",
    )
    yield (
        algo.contexts > 0 and "context" not in algo.adapts,
        f"algo.contexts={algo.contexts} is a context that algo.adapts=[{adapts}] leaves at zero: "
        "set algo.adapts=[context], or algo.contexts=0",
    )
    yield (
        algo.contexts == 0 and algo.film is not None,
        f"algo.film={algo.film} is where a context modulates, but algo.contexts=0: set "
        "algo.contexts to 1 or more, or algo.film=null",
    )
    yield (
        algo.warp and not {"body", "head"} & set(algo.adapts),
        f"algo.warp=true shapes the inner steps of weights, but algo.adapts=[{adapts}] changes "
        "none: add body or head to algo.adapts, or set algo.warp=false",
    )


def _implicit(algo: MAML) -> Iterator[Rule]:
    if not algo.implicit:
        yield (
            algo.released_system,
            "algo.released_system=true is a choice of iMAML, but algo.implicit=false: set "
            "algo.implicit=true or algo.released_system=false",
        )
        return
    end = "algo.implicit=true differentiates the end of the inner loop alone"
    yield (
        algo.proximal == 0,
        f"algo.proximal=0.0: {end}, which depends on the start by the proximal term only: set "
        "algo.proximal above 0, such as 2.0",
    )
    for switch, what in {
        "msl": "which no loss after earlier steps enters",
        "da": "which is of second order from the first epoch",
        "bnwb": "where rows of batch-norm weights for earlier steps would never be learned",
        "bnrs": "where statistics of earlier steps would never be gathered",
        "lslr": "which does not depend on inner rates, so that none can be learned",
        "rate_per_weight": "which does not depend on inner rates, so that none can be learned",
        "curvature": "which does not depend on the way there, so that no curvature can be learned",
        "alfa": "which does not depend on inner rates, so that none can be learned",
        "recompute": "so that there is no graph of the steps to compute again",
    }.items():
        broken = bool(getattr(algo, switch))
        yield broken, f"algo.{switch}=true: {end}, {what}: set algo.{switch}=false"
    yield (
        algo.order == 1,
        f"algo.order=1: {end}, by second derivatives: set algo.order=2, or algo.implicit=false",
    )
    yield (
        algo.mask != "none",
        f"algo.mask={algo.mask}: {end}, which does not depend on masks, so that none can be "
        "learned: set algo.mask=none",
    )
