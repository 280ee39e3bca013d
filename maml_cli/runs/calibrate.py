"""The test of networks on a split: their scores, and those of their probabilities."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from maml_cli.core.algorithm import MetaParameters
from maml_cli.core.calibration import Calibration
from maml_cli.core.records import Curves, ScoredEpisodes
from maml_cli.core.results import EvaluationResult, Split
from maml_cli.core.scoring import EpisodeScores, Scoring
from maml_cli.runs.assembly import Assembly
from maml_cli.runs.bound_data import splits_of
from maml_cli.runs.evaluation import Scores, milestones
from maml_cli.runs.keep import kept_queries


class Tested(NamedTuple):
    """What a test gives."""

    evaluation: EvaluationResult
    episodes: ScoredEpisodes
    curves: Curves | None
    """Fits of the best network to some test tasks; None if inputs are no numbers."""


def tested(
    parts: Assembly,
    candidates: Sequence[MetaParameters],
    split: Split,
    on_progress: Callable[[str, int, int], None],
) -> Tested:
    """Score the candidates, best first, on a split; fit on validation episodes what is fitted.

    Nothing is where there are no validation episodes, or no probabilities, as on optimisation
    problems.
    """
    settings, objective = parts.experiment.eval, parts.source.objective
    sizes = {"val": settings.val_episodes, "test": settings.test_episodes}
    scoring = objective.scoring if "val" in splits_of(parts.source) else None
    needed = dict.fromkeys([split] if scoring is None else ["val", split])
    scores = {
        name: parts.scores(candidates, name, sizes[name], on_progress, course=name == split)
        for name in needed
    }
    calibration: Calibration | None = None
    by_episode: Mapping[str, EpisodeScores] = {}
    if scoring is not None:
        calibration, by_episode = calibrate(scoring, scores["val"], scores[split])
    found, best = scores[split], candidates[0]
    told = {} if objective.reported.few_shot else milestones(found)
    return Tested(
        parts.evaluation(found, split, calibration=calibration, candidates=len(candidates)),
        ScoredEpisodes(
            ensemble=found.ensemble[:, -1].tolist(),
            single=found.single[:, -1].tolist(),
            calibration=by_episode,
            milestones={step: losses.tolist() for step, losses in told.items()},
            queries=kept_queries(parts, best, split, found) if settings.keep else None,
        ),
        parts.curves(best, math.nan if calibration is None else calibration.value),
    )


def calibrate(
    scoring: Scoring, validation: Scores, test: Scores
) -> tuple[Calibration, Mapping[str, EpisodeScores]]:
    """Fit on the scores of validation episodes, and score those of the test.

    Both are of the same networks.
    """
    value = scoring.fit(validation.predictive, validation.targets)
    values = {"raw": scoring.unfitted, "fitted": value}
    episodes: Mapping[str, EpisodeScores] = {
        name: scoring.scores(test.predictive, test.targets, known)
        for name, known in values.items()
        if known is not None
    }
    readings = {name: scoring.reading(scores) for name, scores in episodes.items()}
    calibration = Calibration(
        samples=test.samples,
        parameter=scoring.parameter,
        value=value,
        fitted_on=len(validation.targets),
        raw=readings.get("raw"),
        fitted=readings["fitted"],
    )
    return calibration, episodes
