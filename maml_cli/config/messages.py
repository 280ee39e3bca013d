"""The sentences that tell a user what a setting may be, what it is not, and what was meant."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from itertools import chain
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    types.NoneType: "null",
}
_BOUNDS = {
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "min_length": "at least {} long",
    "max_length": "at most {} long",
    "pattern": "of the form {}",
}


def fields(settings: type) -> dict[str, FieldInfo]:
    """The fields of a settings class, as pydantic keeps them."""
    found: dict[str, FieldInfo] = getattr(settings, "__pydantic_fields__", {})
    return found


def typed(value: Any) -> str:
    """A value as it is typed on the command line: `null`, `true`, `[40,40]`."""
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case list() | tuple():
            return f"[{','.join(typed(item) for item in value)}]"
        case dict():
            return f"{{{','.join(f'{key}:{typed(item)}' for key, item in value.items())}}}"
        case _:
            return str(value)


def alternatives(options: Iterable[str]) -> str:
    """`a, b or c`."""
    *most, last = options
    return f"{', '.join(most)} or {last}" if most else last


def rule(annotation: Any, constraints: Iterable[Any] = ()) -> str:
    """What a field accepts, from its annotation: `a whole number, at least 1`."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner, *extras = arguments
        metadata = [e.metadata if isinstance(e, FieldInfo) else [e] for e in extras]
        return rule(inner, [*constraints, *chain.from_iterable(metadata)])
    if origin in (Union, types.UnionType):
        *others, last = arguments
        return f"{', '.join(rule(a, constraints) for a in others)}, or {rule(last)}"
    bounds = " and ".join(
        text.format(getattr(constraint, name))
        for name, text in _BOUNDS.items()
        for constraint in constraints
        if getattr(constraint, name, None) is not None
    )
    if origin is Literal:
        return alternatives(typed(a) for a in arguments)
    if origin in (list, tuple):
        fixed = origin is tuple and ... not in arguments
        size = f"a list of {len(arguments)}" if fixed else "a list"
        return ", ".join(filter(None, [size, bounds, f"each {rule(arguments[0])}"]))
    kind = _KINDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return ", ".join(filter(None, [kind, bounds]))


def invalid(key: str, value: Any, error: ErrorDetails, fields: Mapping[str, FieldInfo]) -> str:
    """What is wrong with the value of a key, from pydantic's finding."""
    if error["type"] == "value_error":  # a settings class speaks for itself
        return f"{key}: {error['ctx']['error']}"
    if key not in fields:
        return unknown_key(key, list(fields))
    field = fields[key]
    must = f"must be {rule(field.annotation, field.metadata)}"
    meaning = f" ({field.description})" if field.description else ""
    if error["type"] == "missing" and len(error["loc"]) == 1:  # and not a number of a list
        return f"{key} is missing: {must}{meaning}"
    if error["type"] == "string_type" and value is not None:
        return f"{key}={typed(value)}: {must}; quote it: {key}=\"'{typed(value)}'\"{meaning}"
    if error["type"] == "list_type" and value is not None:
        return f"{key}={typed(value)}: {must}; write {key}=[{typed(value)}]{meaning}"
    return f"{key}={typed(value)}: {must}{meaning}"


HABITS = {
    "augment": "dataset.augment=[crop,flip,colour] is for dataset=image_folder and mini_imagenet; "
    "dataset.rotations turns Omniglot's classes",
    "batch_size": "train.tasks_per_batch counts the tasks of an outer update",
    "checkpoint": "resume=DIR goes on with a run, init_from=DIR starts from its weights",
    "early_stopping": "train.patience ends a training that gets no better",
    "gpus": "device=cuda; torchrun starts a process per GPU",
    "learning_rate": "train.outer_lr is the outer rate, algo.inner_lr the inner one",
    "logger": "logger=[tensorboard,mlflow,wandb] chooses the pages (docs/metrics.md)",
    "max_epochs": "train.epochs",
    "max_steps": "train.epochs times train.iterations_per_epoch",
    "num_workers": "the images lie in memory, so nothing loads them",
    "optimizer": "the outer optimiser is the algorithm's own: Adam for most",
    "output_dir": "hydra.run.dir=DIR chooses the folder of a run",
    "weights": "init_from=DIR starts from a run, backbone.weights=FILE a backbone=module",
}
"""Keys of other runners, and what stands for them here."""
_ALIKE = {
    "augmentation": "augment",
    "batchsize": "batch_size",
    "bs": "batch_size",
    "ckpt": "checkpoint",
    "ckpt_path": "checkpoint",
    "earlystopping": "early_stopping",
    "gpu": "gpus",
    "loggers": "logger",
    "logging": "logger",
    "lr": "learning_rate",
    "load_from": "checkpoint",
    "mlflow": "logger",
    "meta_batch_size": "batch_size",
    "meta_lr": "learning_rate",
    "optim": "optimizer",
    "pretrained": "weights",
    "save_dir": "output_dir",
    "tensorboard": "logger",
    "transforms": "augment",
    "transform": "augment",
    "wandb": "logger",
    "workers": "num_workers",
}
_ALIKE_ENOUGH = 0.7


def unknown_key(key: str, known: list[str]) -> str:
    """That there is no such key, and the nearest one that there is, or what stands for it."""
    last = key.rpartition(".")[2]
    habit = next((HABITS[h] for k in (key, last) if (h := _ALIKE.get(k, k)) in HABITS), None)
    if habit and not any(name.rpartition(".")[2] == last for name in known):
        return f"{key}: no such key; {habit}"
    by_last = {name.rpartition(".")[2]: name for name in known}
    nearest = (
        [name for name in known if name.rpartition(".")[2] == last]
        or get_close_matches(key, known, n=1, cutoff=_ALIKE_ENOUGH)
        or [by_last[name] for name in get_close_matches(last, by_last, n=1, cutoff=_ALIKE_ENOUGH)]
    )
    way_out = (
        f"did you mean {alternatives(nearest)}?" if nearest else "maml-train --help lists them"
    )
    return f"{key}: no such key; {way_out}"


def unknown_option(group: str, value: Any, options: list[str]) -> str:
    """That a group has no such option, the nearest that it has, and all of them."""
    nearest = get_close_matches(typed(value), options, n=1)
    guess = f"did you mean {nearest[0]}? " if nearest else ""
    return f"{group}={typed(value)}: no such {group}; {guess}There are {alternatives(options)}."
