"""The scores of probabilities as a table, in a run's files and in reports."""

import math

from maml_cli.core.calibration import Calibration, Reading
from maml_cli.core.metric import Metric
from maml_cli.core.scoring import TEMPERATURES
from maml_cli.core.stats import Estimate
from maml_cli.reporting.format import count, show, show_interval

SCORES = {
    "nll": Metric(name="NLL ↓", higher_is_better=False),
    "brier": Metric(name="Brier ↓", higher_is_better=False),
    "ece": Metric(name="ECE ↓", higher_is_better=False, unit="%"),
    "coverage_50": Metric(name="in the 50 % band", higher_is_better=True, unit="%"),
    "coverage_90": Metric(name="in the 90 % band", higher_is_better=True, unit="%"),
    "width_90": Metric(name="width of the 90 % band", higher_is_better=False),
}
"""The scores by their names in `results.json`, as tables name and show them."""
BY_CHANCE = "by chance"
AT_LIMIT = 1.01


def score_header(calibration: Calibration) -> list[str]:
    """The columns of a reading: each score, and beside it what chance alone would show."""
    names = calibration.fitted.scores
    chance = calibration.fitted.by_chance
    return [
        column
        for name in names
        for column in (SCORES[name].name, *([BY_CHANCE] if name in chance else ()))
    ]


def score_cells(reading: Reading) -> list[str]:
    """The cells of these columns."""
    return [
        cell
        for name, estimate in reading.scores.items()
        for cell in (
            score_cell(name, estimate),
            *([show(SCORES[name], reading.by_chance[name])] if name in reading.by_chance else ()),
        )
    ]


def score_cell(name: str, estimate: Estimate) -> str:
    """A score with its interval."""
    return show_interval(SCORES[name], estimate.mean, estimate.ci95)


def readings(calibration: Calibration) -> dict[str, Reading]:
    """Each way in which outputs were read as probabilities, by the name of its row."""
    raw = {} if calibration.raw is None else {"as trained": calibration.raw}
    return {**raw, fitted_name(calibration): calibration.fitted}


def fitted_name(calibration: Calibration) -> str:
    """`temperature 1.32`, `noise deviation 0.31`."""
    if calibration.parameter == "noise variance":
        return f"noise deviation {math.sqrt(calibration.value):.3g}"
    return f"{calibration.parameter} {calibration.value:.3g}"


def explanation(calibration: Calibration, *, in_sample: bool) -> str:
    """What the scores are; `in_sample`: the episodes are those on which the number was fitted."""
    episodes = count(calibration.fitted_on, "validation episode", "validation episodes")
    where = f"on the same {episodes}" if in_sample else f"on {episodes}"
    parts = [f"Probabilities of the ensemble; the {calibration.parameter} was fitted {where}"]
    if math.isnan(calibration.value):
        parts[0] += ", which failed, since outputs are not finite"
    elif calibration.parameter == "temperature" and _at_limit(calibration.value):
        parts[0] += " and lies at the limit of the search"
    if "ece" in calibration.fitted.scores:
        parts.append(
            "ECE: expected calibration error in 15 bins, ± by resampling episodes; by chance: what "
            "a perfectly calibrated model would show"
        )
    else:
        parts.append("bands: central ones of the samples with normal noise")
    return "; ".join(parts) + "."


def _at_limit(value: float) -> bool:
    low, high = TEMPERATURES
    return value < low * AT_LIMIT or value > high / AT_LIMIT
