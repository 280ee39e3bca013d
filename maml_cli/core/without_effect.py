"""Settings that were typed and have no effect, because of another setting."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from maml_cli.core.experiment import Experiment

_SECTIONS = ("algo", "dataset", "backbone")


@dataclass(frozen=True)
class OnlyWith:
    """An annotation of a setting: it has an effect only with this value of another setting.

    Both are of one section. Without a value the other one must be true, or above 0.
    """

    setting: str
    value: str | None = None

    def holds(self, settings: Any) -> bool:
        found = getattr(settings, self.setting)
        return bool(found) if self.value is None else found == self.value


def without_effect(experiment: Experiment) -> list[str]:
    """A sentence for each setting of the command line that has no effect in this experiment."""
    typed = dict(_typed(experiment.command))
    causes = dict(_causes(experiment))
    return [
        f"{key}={value} has no effect: {causes[key]}"
        for key, value in typed.items()
        if key in causes
    ]


def _typed(command: str) -> Iterator[tuple[str, str]]:
    """The keys of a command line and their values."""
    for word in shlex.split(command):
        key, is_setting, value = word.lstrip("+").partition("=")
        if is_setting:
            yield key, value


def _causes(experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Each key without an effect, and the setting that is the cause."""
    if not experiment.algo.anneals:
        yield (
            "train.min_outer_lr",
            f"algo={experiment.algo.name}, as it is set, does not anneal the outer rate",
        )
    for section in _SECTIONS:
        settings = getattr(experiment, section)
        for name, field in getattr(type(settings), "__pydantic_fields__", {}).items():
            for only in field.metadata:
                if isinstance(only, OnlyWith) and not only.holds(settings):
                    other = getattr(settings, only.setting)
                    shown = str(other).lower() if isinstance(other, bool) else other
                    yield f"{section}.{name}", f"{section}.{only.setting}={shown}"
