import pytest
from results import BANDS, changed

from maml_cli.core.records import Sink
from maml_cli.reporting.reporter import Reporter, standard_reporter


class Listener(Sink):
    def __init__(self, heard, name):
        self.heard, self.name = heard, name

    def evaluating(self, split, done, total):
        self.heard.append((self.name, split, done, total))

    def close(self):
        self.heard.append((self.name, "close"))
        raise OSError(f"{self.name} failed")


def test_every_sink_hears_and_is_closed_even_if_another_one_fails():
    heard = []
    with (
        pytest.raises(OSError, match="failed"),
        Reporter([Listener(heard, "a"), Listener(heard, "b")]) as reporter,
    ):
        reporter.evaluating("val", 1, 2)
    assert heard[:2] == [("a", "val", 1, 2), ("b", "val", 1, 2)]
    assert sorted(heard[2:]) == [("a", "close"), ("b", "close")]


def test_a_run_that_never_started_is_closed():
    with standard_reporter():
        pass


def test_a_run_leaves_all_its_files(
    regression, iteration_record, epoch_record, regression_results, curves
):
    with standard_reporter() as reporter:
        reporter.start(regression, None)
        reporter.iteration(iteration_record)
        reporter.epoch(epoch_record)
        reporter.evaluating("test", 0, 600)
        reporter.finish(changed(regression_results, calibration=BANDS), curves)
    assert sorted(path.name for path in regression.output_dir.iterdir()) == [
        "curves.png",
        "metrics.jsonl",
        "reliability.png",
        "results.json",
        "table.md",
        "tensorboard",
    ]
