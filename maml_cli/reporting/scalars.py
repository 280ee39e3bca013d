"""The scalars of a run by name: the same in every logger (docs/metrics.md)."""

from maml_cli.core.records import EpochRecord, IterationRecord
from maml_cli.core.results import RunResults


def of_iteration(record: IterationRecord, metric: str) -> dict[str, float]:
    """Of training, at the record's iteration; `metric` is the name of what is measured."""
    losses = {f"train/query_loss/step_{step}": v for step, v in record.query_losses.items()}
    metrics = {f"train/{metric}/step_{step}": v for step, v in record.query_metrics.items()}
    return {
        "train/loss": record.loss,
        f"train/{metric}": record.metric,
        "train/outer_lr": record.outer_lr,
        "train/iterations_per_second": record.iterations_per_second,
        **losses,
        **metrics,
    }


def of_epoch(record: EpochRecord, metric: str) -> dict[str, float]:
    """Of a validation and its epoch, at the epoch's last iteration."""
    scalars = {
        f"val/{metric}": record.reported.mean,
        f"val/{metric}_ci95": record.reported.ci95,
    }
    for step, estimate in record.val.items():
        scalars[f"val/{metric}/step_{step}"] = estimate.mean
    for name, rates in record.inner_rates.items():
        for step, rate in enumerate(rates, start=1):
            scalars[f"inner_rates/{name}/step_{step}"] = rate
    for name, value in record.phase.items():
        if isinstance(value, int | float):
            scalars[f"phase/{name}"] = float(value)
        elif isinstance(value, tuple):
            scalars |= {f"{name}/step_{step}": v for step, v in enumerate(value, start=1)}
    return scalars


def of_test(results: RunResults) -> dict[str, float]:
    """Of the test, after the last iteration: the scores of the table."""
    metric, calibration = results.metric.name, results.test.calibration
    ensemble, single = results.test.ensemble.last, results.test.single.last
    scores = {} if calibration is None else calibration.fitted.scores
    return {
        f"test/{metric}": ensemble.mean,
        f"test/{metric}_ci95": ensemble.ci95,
        f"test/{metric}_single": single.mean,
        f"test/{metric}_single_ci95": single.ci95,
        **{f"test/{name}": estimate.mean for name, estimate in scores.items()},
    }


def of_descents(results: RunResults) -> dict[int, dict[str, float]]:
    """Of the test on optimisation problems, by the optimiser's steps; else empty."""
    if (descents := results.test.descents) is None:
        return {}
    return {
        steps: {
            "test_course/mean": estimate.mean,
            "test_course/median": descents.spread[steps].median,
        }
        for steps, estimate in results.test.single.estimates.items()
    }
