"""From a composed configuration to an Experiment, or to everything that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from maml_cli.config import messages
from maml_cli.config.module_path import own_folders
from maml_cli.config.trust import Untrusted, refusal
from maml_cli.config.typed_words import expanded
from maml_cli.config.without_effect import without_effect
from maml_cli.core.errors import UsageError
from maml_cli.core.eval_settings import EvalSettings
from maml_cli.core.experiment import Experiment
from maml_cli.core.settings import RunSettings, TrainSettings
from maml_cli.distributed import ranks

SETTINGS = {"run": RunSettings, "train": TrainSettings, "eval": EvalSettings}
COMPONENTS = ("algo", "dataset", "backbone")
SECTIONS = (*COMPONENTS, "train", "eval")
"""The keys at the root that are groups of keys; the other root keys are RunSettings."""


PARTS = {
    "algo": ("check", "toggles", "build"),
    "dataset": ("check", "load"),
    "backbone": ("build",),
}
"""What the class of a component must have, beside its name."""


def build(config: DictConfig, command: str) -> Experiment:
    """The experiment that a configuration describes; raises UsageError with all that is wrong."""
    experiment, problems = inspect(config, fallback=config, command=command)
    if experiment is None or problems:
        raise UsageError(*problems)
    return replace(experiment, notes=tuple(without_effect(experiment, COMPONENTS)))


def inspect(
    config: DictConfig,
    *,
    fallback: DictConfig,
    command: str = "",
    folders: Sequence[Path] | None = None,
) -> tuple[Experiment | None, list[str]]:
    """The experiment, and what is wrong with it.

    Classes are the program's own, or lie in these folders (None: those that the user named and the
    current one); no other module is imported. An invalid value is reported and then taken from
    `fallback`, so that the same call also finds what the valid ones cannot do together. The
    experiment is None where that did not help. Raises Untrusted where a name may not be imported.
    """
    shapeless = [name for name in SECTIONS if not isinstance(config.get(name), DictConfig)]
    if shapeless:
        return None, [f"{name}: must be a mapping of keys to values" for name in shapeless]
    reading = _Reading(config, fallback, own_folders() if folders is None else folders)
    parts = {section: reading.settings(section, cls) for section, cls in SETTINGS.items()}
    parts |= {section: reading.component(section) for section in COMPONENTS}
    if reading.refusals:
        raise Untrusted(*reading.refusals)
    if None in parts.values():
        return None, reading.problems
    resolved = "" if reading.problems else OmegaConf.to_yaml(reading.config, resolve=True)
    experiment = Experiment(**parts, resolved=resolved, command=command, processes=ranks.size())
    return experiment, reading.problems + experiment.check()


class _Reading:
    """Reads a configuration section by section, noting problems and replacing what is invalid."""

    def __init__(self, config: DictConfig, fallback: DictConfig, folders: Sequence[Path]) -> None:
        self.config, self.fallback, self.folders = config.copy(), fallback, folders
        with open_dict(self.config):
            self.config.pop("hydra", None)
        self.problems: list[str] = []
        self.refusals: list[str] = []
        self._sound = True  # so far, so a failing interpolation is its own cause

    def component(self, section: str) -> Any:
        """The settings of the class that the group's YAML names in `_target_`, or None."""
        try:
            cls = self._class(section)
        except Untrusted as error:
            self.refusals += error.messages
            return None
        except UsageError as error:
            self.problems += error.messages
            return None
        settings = self.settings(section, cls)
        if settings is not None and not _is_plain(settings.name):
            self.problems.append(
                f"{section}.name={settings.name!r}: names a folder and stands in tables; take at "
                "most 100 letters, digits, spaces and signs, without / and \\, that begin with a "
                "letter or digit"
            )
            return None
        return settings

    def _class(self, section: str) -> type:
        """The class that `_target_` names, imported once it is trusted; raises UsageError.

        That is Untrusted where code may not be imported.
        """
        key = f"{section}._target_"
        try:
            target = str(self._node(self.config, section).get("_target_"))
            if problem := refusal(key, target, self.folders):
                raise Untrusted(problem)
            cls: type = resolve_name(target)
        except (AttributeError, ImportError, ValueError, OmegaConfBaseException) as error:
            raise UsageError(f"{key} names no class: {str(error).splitlines()[0]}") from error
        if not messages.fields(cls):
            raise UsageError(f"{key}={target}: must be a pydantic dataclass")
        if missing := [name for name in PARTS[section] if not hasattr(cls, name)]:
            raise UsageError(f"{key}={target}: is no {section}; it has no {missing[0]}")
        values, _ = self._values(section)
        found = [
            refusal(f"{section}.{name}", str(values.get(name)), self.folders)
            for name in getattr(cls, "names_code", ())
        ]
        if refused := list(filter(None, found)):
            raise Untrusted(*refused)
        return cls

    def settings(self, section: str, cls: type) -> Any:
        """The section as an instance of its class, or None."""
        settings, faults = self._validate(section, cls)
        if faults:
            self.problems += filter(None, faults.values())
            self._replace(section, faults)
            settings, faults = self._validate(section, cls)
            self._sound = self._sound and not faults
        return settings

    def _validate(self, section: str, cls: type) -> tuple[Any, dict[str, str]]:
        """The settings, or None and a sentence for each key at fault."""
        values, faults = self._values(section)
        try:
            # as JSON, whose lists are tuples where a tuple is wanted: YAML has none
            text = to_json(values, inf_nan_mode="constants", fallback=str)
            return TypeAdapter(cls).validate_json(text), faults
        except ValidationError as error:
            fields = {_key(section, name): field for name, field in messages.fields(cls).items()}
            for finding in error.errors():
                name = str(finding["loc"][0]) if finding["loc"] else ""
                sentence = messages.invalid(_key(section, name), values.get(name), finding, fields)
                faults.setdefault(name, sentence)
        return None, faults

    def _values(self, section: str) -> tuple[dict[str, Any], dict[str, str]]:
        """The section's values, resolved, and a sentence for each that cannot be."""
        node = self._node(self.config, section)
        values: dict[str, Any] = {}
        faults: dict[str, str] = {}
        for name in map(str, node):
            if name == "_target_" or (section == "run" and name in SECTIONS):
                continue
            try:
                if not OmegaConf.is_missing(node, name):
                    value = node[name]
                    is_node = OmegaConf.is_config(value)
                    value = OmegaConf.to_container(value, resolve=True) if is_node else value
                    values[name] = expanded(value) if isinstance(value, str) else value
            except OmegaConfBaseException as error:
                faults[name] = (
                    f"{_key(section, name)}: {str(error).splitlines()[0]}" if self._sound else ""
                )
        return values, faults

    def _replace(self, section: str, names: Iterable[str]) -> None:
        node, spare = (self._node(c, section) for c in (self.config, self.fallback))
        with open_dict(self.config):
            for name in names:
                if name in node:
                    del node[name]
                if name in spare:
                    node[name] = spare._get_node(name)

    @staticmethod
    def _node(config: DictConfig, section: str) -> DictConfig:
        return config if section == "run" else config[section]


def _is_plain(name: object) -> bool:
    """Whether it can be the name of a folder, and stands in a table as it is."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= 100
        and name[0].isalnum()
        and name.isprintable()
        and not {"/", "\\"} & set(name)
    )


def _key(section: str, name: str) -> str:
    return name if section == "run" else f"{section}.{name}".removesuffix(".")
