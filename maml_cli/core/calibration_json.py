"""The entry `calibration` of `results.json`."""

from typing import Any

from maml_cli.core.calibration import Calibration, Reading, Reliability
from maml_cli.core.json_text import JsonObject
from maml_cli.core.stats import Estimate


def encoded(calibration: Calibration) -> dict[str, Any]:
    """The entry; `raw` is absent where there are no probabilities without a fitted parameter."""
    raw = {} if calibration.raw is None else {"raw": _reading(calibration.raw)}
    return {
        "samples": calibration.samples,
        "parameter": calibration.parameter,
        "value": calibration.value,
        "fitted_on": calibration.fitted_on,
        **raw,
        "fitted": _reading(calibration.fitted),
    }


def decoded(entry: JsonObject, episodes: int) -> Calibration:
    """The calibration of a test of so many episodes; raises ValueError."""
    return Calibration(
        samples=entry.integer("samples"),
        parameter=entry.text("parameter"),
        value=entry.number("value"),
        fitted_on=entry.integer("fitted_on"),
        raw=_read(entry.object("raw"), episodes) if "raw" in entry else None,
        fitted=_read(entry.object("fitted"), episodes),
    )


def _reading(reading: Reading) -> dict[str, Any]:
    chance, reliability = reading.by_chance, reading.reliability
    return {
        "scores": {
            name: {"mean": e.mean, "ci95": e.ci95}
            | ({"by_chance": chance[name]} if name in chance else {})
            for name, e in reading.scores.items()
        },
        "promised": list(reliability.promised),
        "observed": list(reliability.observed),
        "counts": list(reliability.counts),
    }


def _read(entry: JsonObject, episodes: int) -> Reading:
    scores = entry.objects("scores")
    return Reading(
        scores={
            name: Estimate(score.number("mean"), score.number("ci95"), episodes)
            for name, score in scores.items()
        },
        by_chance={n: s.number("by_chance") for n, s in scores.items() if "by_chance" in s},
        reliability=Reliability(
            promised=tuple(entry.numbers("promised")),
            observed=tuple(entry.numbers("observed")),
            counts=tuple(entry.integers("counts")),
        ),
    )
