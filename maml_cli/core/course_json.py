"""The entries of `results.json` that tell a metric step by step."""

from typing import Any

from maml_cli.core.json_text import JsonObject
from maml_cli.core.results import Course, Descents, Spread
from maml_cli.core.stats import Estimate


def encoded(course: Course) -> dict[str, Any]:
    """The metric after each number of inner steps, as lists of one length."""
    return {
        "steps": list(course.estimates),
        "mean": [estimate.mean for estimate in course.estimates.values()],
        "ci95": [estimate.ci95 for estimate in course.estimates.values()],
    }


def encoded_end(course: Course) -> dict[str, Any]:
    """The metric after the last inner step."""
    return {"mean": course.last.mean, "ci95": course.last.ci95}


def decoded(entries: JsonObject, episodes: int) -> Course:
    """The course in these lists; raises ValueError unless steps ascend and lengths agree."""
    steps = entries.integers("steps")
    columns = [entries.numbers(name) for name in ("mean", "ci95")]
    if not steps or steps != sorted(set(steps)):
        raise ValueError(f"{entries.name('steps')} must ascend, but is {steps}")
    for name, column in zip(("mean", "ci95"), columns, strict=True):
        if len(column) != len(steps):
            raise ValueError(
                f"{entries.name(name)} has {len(column)} values, but {entries.name('steps')} has "
                f"{len(steps)}"
            )
    return Course(
        estimates={
            step: Estimate(mean, ci95, episodes)
            for step, mean, ci95 in zip(steps, *columns, strict=True)
        }
    )


def decoded_end(entries: JsonObject, episodes: int) -> Estimate:
    """The metric after the last inner step, a mean over this number of episodes."""
    return Estimate(entries.number("mean"), entries.number("ci95"), episodes)


def encoded_descents(descents: Descents | None) -> dict[str, Any]:
    """The entries of optimisation problems; none for few-shot tasks."""
    if descents is None:
        return {}
    columns = zip(*descents.spread.values(), strict=True)
    spread = dict(zip(Spread._fields, map(list, columns), strict=True))
    return {
        "test_spread": {"steps": list(descents.spread), **spread},
        "seconds_per_step": descents.seconds_per_step,
    }


def decoded_descents(entries: JsonObject) -> Descents | None:
    """How the losses of problems lie; None for few-shot tasks."""
    if "test_spread" not in entries:
        return None
    found = entries.object("test_spread")
    columns = [found.numbers(name) for name in ("median", "low", "high")]
    rows = zip(found.integers("steps"), *columns, found.integers("diverged"), strict=True)
    return Descents(
        spread={step: Spread(*values) for step, *values in rows},
        seconds_per_step=entries.number("seconds_per_step"),
    )
