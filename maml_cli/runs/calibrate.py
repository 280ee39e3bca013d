"""The scores of a test's probabilities, with what validation episodes say of them."""

from collections.abc import Mapping

from maml_cli.core.calibration import Calibration
from maml_cli.core.records import ScoredEpisodes
from maml_cli.core.scoring import EpisodeScores, Scoring
from maml_cli.runs.evaluation import Scores


def calibrate(
    scoring: Scoring, validation: Scores, test: Scores
) -> tuple[Calibration, ScoredEpisodes]:
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
    return calibration, _scored(test, episodes)


def uncalibrated(test: Scores) -> ScoredEpisodes:
    """The scores of a test where there are no validation episodes to fit on."""
    return _scored(test, {})


def _scored(test: Scores, episodes: Mapping[str, EpisodeScores]) -> ScoredEpisodes:
    ensemble, single = (scores[:, -1].tolist() for scores in (test.ensemble, test.single))
    return ScoredEpisodes(ensemble, single, episodes)
