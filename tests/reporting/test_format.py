import pytest

from maml_cli.core.metric import ACCURACY, MSE
from maml_cli.reporting.format import count, show, show_interval, show_speed, show_toggles


def test_accuracies_are_shown_in_percent_and_other_metrics_as_they_are():
    assert show(ACCURACY, 0.9765) == "97.65 %"
    assert show(MSE, 0.0123456) == "0.01235"
    assert show_interval(ACCURACY, 0.5, 0.01) == "50.00 ± 1.00 %"


@pytest.mark.parametrize(
    ("mean", "ci95", "text"),
    [
        (3.5, 0.25, "3.50 ± 0.25"),
        (0.04321, 0.0012, "0.0432 ± 0.0012"),
        (12345.6, 678.0, "12346 ± 678"),
        (3948696.2, 16989863.0, "3.9e+06 ± 1.7e+07"),
        (3948696.2, 12.0, "3948696 ± 12"),
        (1.0, 0.0, "1 ± 0"),
        (float("inf"), float("nan"), "not finite"),
    ],
)
def test_the_interval_decides_the_digits(mean, ci95, text):
    assert show_interval(MSE, mean, ci95) == text


def test_slow_iterations_are_shown_in_seconds():
    assert show_speed(3.44) == "3.4 it/s"
    assert show_speed(0.25) == "4.0 s/it"


def test_words():
    assert show_toggles({"msl": True, "ca": False, "order": "2"}) == "msl on, ca off, order 2"
    assert count(1, "query", "queries") == "1 query"
    assert count(1200, "query", "queries") == "1,200 queries"
