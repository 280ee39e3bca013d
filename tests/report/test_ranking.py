"""The chart of results: the best one first, on the right axis, with the published numbers."""

import re

from maml_cli.core.metric import ACCURACY, MSE, Metric
from maml_cli.report.charts import Row, ranking


def places(svg: str) -> dict[str, float]:
    """How far down each text of the chart stands."""
    found = re.findall(r'<text[^>]*? y="(-?[\d.]+)"[^>]*>([^<]+)</text>', svg)
    moved = re.findall(r"<text[^>]*?translate\(-?[\d.]+ (-?[\d.]+)\)[^>]*>([^<]+)</text>", svg)
    return {text: float(y) for y, text in [*found, *moved]}


def test_the_highest_accuracy_and_the_least_error_stand_first() -> None:
    rows = [Row("middle", 0.5, 0.1), Row("high", 0.9, 0.1), Row("low", 0.2, 0.1)]
    down = places(ranking(rows, x="accuracy", metric=ACCURACY))
    assert down["high"] < down["middle"] < down["low"]
    down = places(ranking(rows, x="error", metric=MSE))
    assert down["low"] < down["middle"] < down["high"]


def test_a_metric_below_zero_has_its_axis() -> None:
    rows = [Row("worse", -0.5, 0.1), Row("better", -1.0, 0.2)]
    down = places(ranking(rows, x="likelihood", metric=Metric(name="nll", higher_is_better=False)))
    assert down["better"] < down["worse"]


def test_an_interval_over_few_seeds_does_not_stretch_the_axis() -> None:
    """50 ± 508 points of two seeds: the axis of accuracies still ends at 100 %."""
    texts = places(ranking([Row("two seeds", 0.5, 5.08)], x="accuracy", metric=ACCURACY))
    assert {"0%", "100%"} <= set(texts)
    assert not {"-200%", "200%", "400%"} & set(texts)


def test_published_numbers_have_a_legend_where_there_are_any() -> None:
    known = ranking([Row("MAML", 0.5, 0.1, [0.987])], x="accuracy", metric=ACCURACY)
    assert "published" in places(known)
    assert "published" not in places(ranking([Row("mine", 0.5, 0.1)], x="a", metric=ACCURACY))
