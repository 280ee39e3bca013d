"""What was measured and how: the conditions that belong beside a number."""

from collections.abc import Callable, Iterator, Mapping, Sequence

from maml_cli.report.group import Group
from maml_cli.report.published import Published
from maml_cli.report.section import label
from maml_cli.reporting import table
from maml_cli.reporting.table import BATCH_NORM

NOT_APPLICABLE = "–"
"""Where a condition does not apply."""

SHOWN_ELSEWHERE = (
    *("ways", "shots", "queries", "train_ways", "train_shots", "train_queries"),
    *("train.epochs", "train.iterations_per_epoch", "train.tasks_per_batch", "train.task_pool"),
    *("algo.inner_lr", "dataset.rotations"),
    *("eval.test_episodes", "eval.ensemble", "eval.inner_steps", "eval.bn_stats"),
)


def over(group: Group) -> str:
    """What the interval is over: `3 seeds`, or `600 episodes` of a single seed."""
    if len(group.seeds) > 1:
        return f"{len(group.seeds)} seeds"
    return f"{group.first.test.episodes:,} episodes"


def _setting(group: Group, key: str) -> str:
    return str(group.runs[0].settings.get(key, NOT_APPLICABLE))


def _train_ways(group: Group) -> str:
    return str(group.runs[0].train_ways) if group.protocol.ways > 1 else NOT_APPLICABLE


def _task_pool(group: Group) -> str:
    pool = group.protocol.task_pool
    return NOT_APPLICABLE if pool is None else f"{pool:,}"


CONDITIONS: Mapping[str, Callable[[Group], str]] = {
    "± over": over,
    "split": lambda g: g.first.test.split,
    "seeds": lambda g: ", ".join(map(str, g.seeds)),
    "test episodes": lambda g: f"{g.first.test.episodes:,}",
    "ways in training": _train_ways,
    "shots in training": lambda g: str(g.runs[0].train_shots),
    "fixed training tasks": _task_pool,
    "queries": lambda g: str(g.protocol.queries),
    "inner steps at test": lambda g: str(g.first.test.inner_steps),
    "batch norm by": lambda g: BATCH_NORM.get(str(g.first.test.bn_stats), NOT_APPLICABLE),
    "inner rate": lambda g: _setting(g, "algo.inner_lr"),
    "rotations": lambda g: _setting(g, "dataset.rotations"),
    "ensemble of": lambda g: str(g.first.test.ensemble_size),
    "network": lambda g: g.protocol.backbone,
}


def shared_and_varying(
    groups: Sequence[Group],
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """The conditions that all groups share; for the others a column with a value per group."""
    columns = {
        name: [condition(group) for group in groups] for name, condition in CONDITIONS.items()
    }
    varying = {name: column for name, column in columns.items() if len(set(column)) > 1}
    shared = {
        name: column[0]
        for name, column in columns.items()
        if name not in varying and column[0] != NOT_APPLICABLE
    }
    settings = [differing_settings(group, groups) for group in groups]
    if any(settings):
        varying["settings"] = settings
    return shared, varying


def names(groups: Sequence[Group]) -> list[str]:
    """The approaches; where one is there more than once, with what tells them apart."""
    found = []
    for group in groups:
        same = [other for other in groups if label(other) == label(group)]
        found.append(", ".join([label(group), *_telling(group, same)]))
    return [
        f"{name} ({found[: place + 1].count(name)})" if found.count(name) > 1 else name
        for place, name in enumerate(found)
    ]


def _telling(group: Group, groups: Sequence[Group]) -> Iterator[str]:
    """What tells it from the others: the budget, conditions and settings, until it is alone."""
    last = ("± over", "seeds")
    conditions = [
        ("", budget),
        *((name, told) for name, told in CONDITIONS.items() if name not in last),
        ("", lambda g: differing_settings(g, groups)),
        *((name, CONDITIONS[name]) for name in last),
    ]
    left = list(groups)
    for name, told in conditions:
        same = [other for other in left if told(other) == told(group)]
        if len(same) < len(left):
            left = same
            if said := told(group):
                yield f"{name} {said}".strip()


def differing_settings(group: Group, groups: Sequence[Group]) -> str:
    """The settings in which the group differs from others of the same name."""
    kin = [other.runs[0].settings for other in groups if label(other) == label(group)]
    own = group.runs[0].settings
    return ", ".join(
        f"{key}={value}"
        for key, value in own.items()
        if key not in SHOWN_ELSEWHERE and any(other.get(key, value) != value for other in kin)
    )


def budget(group: Group) -> str:
    """`500 × 8`: iterations and tasks per batch."""
    return f"{group.first.iterations:,} × {group.protocol.tasks_per_batch}"


def other_training(group: Group) -> str:
    """`trained 60-way 1-shot`; empty if training had as many ways and shots as the test."""
    run, setting = group.runs[0], group.setting
    same = (run.train_ways, run.train_shots) == (setting.ways, setting.shots)
    if same or not group.metric.few_shot:
        return ""
    ways = f"{run.train_ways}-way " if setting.ways > 1 else ""
    return f"trained {ways}{run.train_shots}-shot"


def full_iterations(published: Sequence[Published]) -> int | None:
    """The published iterations of an approach, if they are known."""
    return next((number.iterations for number in published if number.iterations), None)


def fraction(group: Group, published: Sequence[Published]) -> str:
    """`1 % of 50,000`, if the group had fewer iterations than published; else empty."""
    full = full_iterations(published)
    iterations = group.first.iterations
    if full is None or iterations >= full:
        return ""
    return f"{100 * iterations / full:.2g} % of {full:,}"


def remarks(group: Group) -> list[str]:
    """What a reader must know of the data, and of what is not finite in any of the runs."""
    return list(dict.fromkeys(said for run in group.runs for said in table.remarks(run.results)))
