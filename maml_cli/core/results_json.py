"""The format of `results.json`: what its entries are called, and which of them may be missing."""

from dataclasses import replace
from typing import Any

from maml_cli.core import calibration_json, course_json
from maml_cli.core.json_text import JsonObject, to_json
from maml_cli.core.metric import METRICS, Metric
from maml_cli.core.results import (
    Course,
    Environment,
    EvaluationResult,
    Protocol,
    Retest,
    RunResults,
    Split,
    Validation,
)
from maml_cli.core.stats import Estimate

BEST = "test_single"
"""Whose course `test_per_step` is: the best network's. Earlier versions have the ensemble's."""


def encoded(results: RunResults) -> str:
    """The results as the text of `results.json`."""
    protocol, environment, test = results.protocol, results.environment, results.test
    score = course_json.encoded if results.metric.per_step else course_json.encoded_end
    retest = results.retest
    content: dict[str, Any] = {
        "algo": protocol.algo,
        "dataset": protocol.dataset,
        "ways": protocol.ways,
        "shots": protocol.shots,
        "queries": protocol.queries,
        **_recorded("train_ways", protocol.train_ways),
        **_recorded("train_shots", protocol.train_shots),
        **_recorded("train_queries", protocol.train_queries),
        **_recorded("own_steps", protocol.own_steps),
        "seed": protocol.seed,
        "toggles": dict(protocol.toggles),
        "metric": protocol.metric.name,
        "device": environment.device,
        "backbone": protocol.backbone,
        "tasks_per_batch": protocol.tasks_per_batch,
        **_recorded("task_pool", protocol.task_pool),
        "parameters": protocol.parameters,
        "engine": environment.engine,
        "remarks": protocol.remarks,
        "command": protocol.command,
        "versions": dict(environment.versions),
        "platform": environment.platform,
        "cpu": environment.cpu,
        "threads": environment.threads,
        "git": environment.git,
        "inner_steps": test.inner_steps,
        "bn_stats": test.bn_stats,
        "test": {
            **score(test.ensemble),
            "episodes": test.episodes,
            "ensemble": test.ensemble_size,
            **_recorded("not_finite", test.not_finite or None),
        },
        "test_single": score(test.single) | {"episodes": test.episodes},
        "test_per_step": course_json.encoded(test.by_step)
        | ({"episodes": test.course.last.n, "of": BEST} if test.course else {}),
        **course_json.encoded_descents(test.descents),
        **({"learned": results.learned} if results.learned else {}),
        **({"calibration": calibration_json.encoded(test.calibration)} if test.calibration else {}),
        **({"trained_by": retest.trained_by} if retest else {}),
        "val": {
            "mean": results.validation.mean,
            "best_epoch": results.validation.best_epoch,
            "to_maximize": results.to_maximize,
        },
        "iterations": results.iterations,
        **_recorded("iterations_skipped", results.iterations_skipped),
        "seconds_per_iteration": results.seconds_per_iteration,
    }
    if retest is not None:
        content |= {"epochs": retest.epochs, "split": test.split, "run": retest.run}
    return to_json(content, indent=2) + "\n"


def decoded(text: str) -> RunResults:
    """The results in the text of a `results.json`; raises ValueError that names the entry.

    Earlier versions did not write `train_ways`, `train_shots`, `train_queries`, `own_steps`,
    `iterations_skipped` and `calibration`. Without `task_pool`, the supply of training tasks was
    endless. Without `of`, `test_per_step` is the ensemble's, of all episodes.
    """
    entries = JsonObject.parse(text)
    best = entries.object("val")
    results = RunResults(
        protocol=_protocol(entries),
        environment=Environment(
            device=entries.text("device"),
            engine=entries.text("engine"),
            versions=entries.texts_by_name("versions"),
            platform=entries.text("platform"),
            cpu=entries.text("cpu"),
            threads=entries.integer("threads"),
            git=entries.text_or_null("git"),
        ),
        test=_evaluation(entries),
        validation=Validation(mean=best.number("mean"), best_epoch=best.integer("best_epoch")),
        iterations=entries.integer("iterations"),
        iterations_skipped=entries.integer_or_absent("iterations_skipped"),
        seconds_per_iteration=entries.number("seconds_per_iteration"),
        learned=tuple(entries.texts("learned")) if "learned" in entries else (),
        retest=_retest(entries) if "run" in entries else None,
    )
    _require_possible(results)
    return results


def _recorded(name: str, value: int | None) -> dict[str, int]:
    """The entry, if it has a value."""
    return {} if value is None else {name: value}


def _protocol(entries: JsonObject) -> Protocol:
    return Protocol(
        algo=entries.text("algo"),
        dataset=entries.text("dataset"),
        ways=entries.integer("ways"),
        shots=entries.integer("shots"),
        queries=entries.integer("queries"),
        train_ways=entries.integer_or_absent("train_ways"),
        train_shots=entries.integer_or_absent("train_shots"),
        train_queries=entries.integer_or_absent("train_queries"),
        own_steps=entries.integer_or_absent("own_steps"),
        seed=entries.integer("seed"),
        toggles=entries.switches("toggles"),
        metric=_metric(entries),
        backbone=entries.text("backbone"),
        tasks_per_batch=entries.integer("tasks_per_batch"),
        task_pool=entries.integer_or_absent("task_pool"),
        parameters=entries.integer("parameters"),
        remarks=tuple(entries.texts("remarks")),
        command=entries.text("command"),
    )


def _metric(entries: JsonObject) -> Metric:
    """The metric of this name; the shape of `test` says whether it is reported per step.

    The file says of a metric that is not among the shipped ones whether higher is better by
    `val.to_maximize`, which is `val.mean` or minus it.
    """
    name, best = entries.text("metric"), entries.object("val")
    known = METRICS.get(name)
    if known is None:
        higher = "to_maximize" in best and best.number("to_maximize") == best.number("mean")
        known = Metric(name=name, higher_is_better=higher)
    return replace(known, per_step="steps" in entries.object("test"))


def _evaluation(entries: JsonObject) -> EvaluationResult:
    test, single = entries.object("test"), entries.object("test_single")
    episodes, per_step = test.integer("episodes"), "steps" in test
    steps = test if per_step else entries.object("test_per_step")
    of_best = "of" in steps and steps.text("of") == BEST
    course = course_json.decoded(steps, steps.integer("episodes")) if of_best else None
    ensemble = course or course_json.decoded(steps, episodes)
    last = ensemble.inner_steps
    if entries.integer("inner_steps") != last:
        raise ValueError(
            f"inner_steps is {entries.integer('inner_steps')}, but the last of "
            f"{'test' if per_step else 'test_per_step'}.steps is {last}"
        )
    if not per_step:
        earlier = {} if course else ensemble.estimates
        ensemble = Course(estimates={**earlier, last: course_json.decoded_end(test, episodes)})
    return EvaluationResult(
        split=_split(entries) if "split" in entries else "test",
        bn_stats=entries.text_or_null("bn_stats"),
        ensemble=ensemble,
        ensemble_size=test.integer("ensemble"),
        calibration=calibration_json.decoded(entries.object("calibration"), episodes)
        if "calibration" in entries
        else None,
        single=course_json.decoded(single, episodes)
        if per_step
        else Course(estimates={last: course_json.decoded_end(single, episodes)}),
        course=course,
        not_finite=test.integer_or_absent("not_finite") or 0,
        descents=course_json.decoded_descents(entries),
    )


def _require_possible(results: RunResults) -> None:
    """Raise ValueError for a mean that its metric cannot have, or an interval below zero."""
    test, unit = results.test, results.metric.unit
    found = {
        **{f"test_per_step after step {n}": e for n, e in test.by_step.estimates.items()},
        "the test": test.ensemble.last,
        **{f"test_single after step {step}": e for step, e in test.single.estimates.items()},
        "val": Estimate(results.validation.mean, 0.0, 0),
    }
    for name, estimate in found.items():
        if unit == "%" and (estimate.mean < 0 or estimate.mean > 1):
            raise ValueError(
                f"{name} has the {results.metric.name} {estimate.mean:g}, which lies between 0 and "
                "1"
            )
        if estimate.ci95 < 0:
            raise ValueError(f"{name} has the interval {estimate.ci95:g}, which is never below 0")
    if test.episodes < 1:
        raise ValueError(f"test.episodes is {test.episodes}, which is at least 1")


def _split(entries: JsonObject) -> Split:
    name = entries.text("split")
    if name not in ("val", "test"):
        raise ValueError(f"split must be val or test, but is {name}")
    return "val" if name == "val" else "test"


def _retest(entries: JsonObject) -> Retest:
    return Retest(
        run=entries.text("run"),
        trained_by=entries.text_or_null("trained_by"),
        epochs=entries.integer("epochs"),
    )
