"""The groups as flat rows of plain values, for other programs."""

from typing import Any

from maml_cli.report import calibration
from maml_cli.report.analysis import Report
from maml_cli.report.group import Group
from maml_cli.report.protocol import full_iterations, over, remarks
from maml_cli.report.published import literature


def rows(report: Report) -> list[dict[str, Any]]:
    """One for each group; accuracies are fractions, published numbers on the same scale."""
    return [
        _row(group) | (calibration.flat(group) if report.calibration else {})
        for group in report.groups
    ]


def _row(group: Group) -> dict[str, Any]:
    protocol, first = group.protocol, group.first
    ensemble, single = group.result("ensemble"), group.result("single")
    published = literature().for_group(group)
    nearest = published[0] if published else None
    scale = group.metric.scale
    steps = nearest.steps if nearest else {}
    value = nearest.value if nearest else None
    if value is None and steps:
        value = steps.get(max(group.course))
    plus_minus = nearest.plus_minus if nearest else None
    return {
        "approach": literature().approach(protocol),
        "dataset": protocol.dataset,
        "ways": protocol.ways,
        "shots": protocol.shots,
        "queries": protocol.queries,
        "metric": protocol.metric.name,
        "algo": protocol.algo,
        "backbone": protocol.backbone,
        "inner_steps": first.test.inner_steps,
        "bn_stats": first.test.bn_stats,
        "iterations": first.iterations,
        "tasks_per_batch": protocol.tasks_per_batch,
        "task_pool": protocol.task_pool,
        "train_ways": group.runs[0].train_ways,
        "train_shots": group.runs[0].train_shots,
        "mean": ensemble.mean,
        "ci95": ensemble.ci95,
        "interval_over": over(group),
        "single_mean": single.mean,
        "single_ci95": single.ci95,
        "ensemble": first.test.ensemble_size,
        "test_episodes": first.test.episodes,
        "seeds": " ".join(map(str, group.seeds)),
        **{f"mean_step_{step}": e.mean for step, e in group.course.items()},
        "published": None if value is None else value / scale,
        "published_plus_minus": None if plus_minus is None else plus_minus / scale,
        "published_source": nearest.source if nearest else None,
        "published_confirmed": nearest.confirmed if nearest else None,
        "published_iterations": full_iterations(published),
        "remarks": "; ".join(remarks(group)),
        "command": " && ".join(group.runs[0].commands),
        "files": " ".join(str(run.file) for run in group.runs),
    }
