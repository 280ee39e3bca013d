"""What a checkpoint holds: anybody may have written one, with a right checksum."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, strided

from maml_cli.core.limits import CHECKPOINT_DEPTH, CHECKPOINT_NODES, scaled

LARGEST = 2**53
Check = Callable[[Any], bool]


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _seconds(value: Any) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and 0 <= value < 1e15


def _tensors(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    )


def _scores(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _count(epoch) and isinstance(score, float) for epoch, score in value.items()
    )


def _texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)


def _machine(value: Any) -> bool:
    texts = ("engine", "device", "torch")
    return (
        isinstance(value, dict)
        and all(_count(value.get(name)) and value[name] > 0 for name in ("processes", "threads"))
        and all(isinstance(value.get(name), str) for name in texts)
    )


def _optimizer(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("state"), dict)
        and isinstance(value.get("param_groups"), list)
    )


def _recent(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(outcome, tuple | list)
        and len(outcome) == 5
        and all(isinstance(outcome[i], Tensor) for i in (0, 1, 2, 4))
        and outcome[0].ndim == outcome[4].ndim == 0
        and isinstance(outcome[3], tuple | list)
        and all(map(_count, outcome[3]))
        and len(outcome[3]) >= 1
        and tuple(outcome[1].shape) == tuple(outcome[2].shape) == (len(outcome[3]),)
        for outcome in value
    )


ENTRIES: Mapping[str, tuple[Check, str]] = {
    "config": (lambda value: isinstance(value, str), "text"),
    "machine": (_machine, "processes, threads, engine, device and torch of the machine"),
    "iteration": (_count, "a whole number from 0 up"),
    "epoch": (_count, "a whole number from 0 up"),
    "scores": (_scores, "a score for each epoch"),
    "recent_seconds": (_seconds, "seconds from 0 up"),
    "seconds": (_seconds, "seconds from 0 up"),
    "skipped": (_count, "a whole number from 0 up"),
    "theta": (_tensors, "tensors by name"),
    "state": (_tensors, "tensors by name"),
    "optimizer": (_optimizer, "the state of an optimiser, or null where only weights are kept"),
    "recent": (_recent, "a list of outcomes"),
}
"""Each entry that a checkpoint must have, how it is checked, and what it is in words."""
OPTIONAL: Mapping[str, tuple[Check, str]] = {
    "command": (lambda value: value is None or isinstance(value, str), "text"),
    "remarks": (_texts, "a list of texts"),
}


def faults(content: Mapping[str, Any]) -> list[str]:
    """What is missing in the content of a checkpoint or is not what it must be, by name."""
    if (found := _Plain().fault(content, "")) is not None:
        return [found]
    wrong = [f"{name} is missing" for name in ENTRIES if name not in content]
    wrong += [
        f"{name} must be {kind}"
        for name, (holds, kind) in {**ENTRIES, **OPTIONAL}.items()
        if name in content and not holds(content[name])
    ]
    return wrong or _contradictions(content)


def _contradictions(content: Mapping[str, Any]) -> list[str]:
    epoch, iteration, scores = content["epoch"], content["iteration"], content["scores"]
    wrong = []
    if sorted(scores) != list(range(epoch)):
        wrong.append(f"scores must have one entry for each of the {epoch} epochs")
    if iteration < epoch:
        wrong.append(f"iteration is {iteration}, which is less than the {epoch} epochs")
    return wrong


class _Plain:
    """Walks through a content, whose values may be shared and so repeat each other."""

    def __init__(self) -> None:
        self._left = scaled(CHECKPOINT_NODES)

    def fault(self, value: Any, place: str, depth: int = 0) -> str | None:
        """The first thing that is no plain value or tensor; None if all are."""
        self._left -= 1
        if self._left < 0 or depth > CHECKPOINT_DEPTH:
            return f"{place} holds too many values, or is nested too deeply"
        if isinstance(value, Tensor):
            return _tensor_fault(value, place)
        if isinstance(value, dict):
            items = [(f"{place}.{key}" if place else str(key), v) for key, v in value.items()]
            if not all(isinstance(key, str | int) for key in value):
                return f"{place} has a key that is no text or number"
        elif isinstance(value, list | tuple):
            items = [(f"{place}[{i}]", v) for i, v in enumerate(value)]
        elif value is None or isinstance(value, str | bool | int | float):
            return None
        else:
            return f"{place} is a {type(value).__name__}"
        return next(filter(None, (self.fault(v, name, depth + 1) for name, v in items)), None)


def _tensor_fault(tensor: Tensor, place: str) -> str | None:
    """A tensor that is no array, or that repeats the values of its storage without end."""
    if tensor.layout != strided or tensor.is_quantized or tensor.device.type != "cpu":
        return f"{place} is no dense tensor"
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return f"{place} is larger than its values"
    return None
