"""Settings that were typed and have no effect, because of another setting."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from maml_cli.config import messages
from maml_cli.core.experiment import Experiment
from maml_cli.core.settings import OnlyWith


def without_effect(experiment: Experiment, components: Iterable[str]) -> list[str]:
    """A sentence for each setting of the command line that has no effect in this experiment."""
    typed = dict(_typed(experiment.command))
    causes = dict(_causes(experiment, components))
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


def _causes(experiment: Experiment, components: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Each key without an effect, and the setting that is the cause."""
    if not experiment.algo.anneals:
        yield (
            "train.min_outer_lr",
            f"algo={experiment.algo.name}, as it is set, does not anneal the outer rate",
        )
    for section in components:
        settings = getattr(experiment, section)
        for name, field in messages.fields(type(settings)).items():
            for only in field.metadata:
                if isinstance(only, OnlyWith) and not only.holds(settings):
                    cause = messages.typed(getattr(settings, only.setting))
                    yield f"{section}.{name}", f"{section}.{only.setting}={cause}"
