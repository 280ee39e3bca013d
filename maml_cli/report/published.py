"""Published numbers, and what the approaches are called in the papers."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic import Field
from pydantic.dataclasses import dataclass

from maml_cli.core.results import Protocol
from maml_cli.core.settings import STRICT
from maml_cli.report.group import Group, Setting

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Approach:
    """A row of the papers, and the runs that are one."""

    name: str
    algo: str
    switches: dict[str, bool | str] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Published:
    """One cell of a paper's table; accuracies in percent."""

    approach: str
    dataset: str
    ways: int
    shots: int
    source: str
    confirmed: bool
    also: list[str] = Field(default_factory=list)
    plus_minus_is: str | None = None
    value: float | None = None
    steps: dict[int, float] = Field(default_factory=dict)
    """For errors: the value after each number of inner steps."""
    plus_minus: float | None = None
    backbone: str | None = None
    iterations: int | None = None
    tasks_per_batch: int | None = None
    other_measure: str | None = None
    """What the number is, if it is not the accuracy of episodes: there is no verdict then."""
    where: dict[str, str | int] = Field(default_factory=dict)
    """The `bn_stats`, `train_ways` and `train_shots` of the runs that it may stand beside."""

    @property
    def setting(self) -> Setting:
        return Setting(self.dataset, self.ways, self.shots)

    @property
    def accuracy(self) -> float | None:
        """The value, if it is an accuracy of episodes, as ours are."""
        return None if self.other_measure else self.value


class Literature(NamedTuple):
    """The content of `published.yaml`."""

    datasets: Mapping[str, str]
    approaches: Sequence[Approach]
    numbers: Sequence[Published]

    def dataset(self, name: str) -> str:
        """The data set's name as people write it."""
        return self.datasets.get(name, name)

    def approach(self, protocol: Protocol) -> str:
        """What a run is called: `MAML`, `MAML + MSL`, or the algorithm's own name if not known."""
        algo, switches = protocol.algo, protocol.toggles
        named = [a for a in self.approaches if a.algo == algo]
        if not named:
            return algo
        [base] = named
        if not (differing := _differing(switches, base)):
            return base.name
        same = [
            a.name
            for a in self.approaches
            if a.name in self.kin(algo) and not _differing(switches, a)
        ]
        return same[0] if same else base.name + "".join(map(_switched, differing.items()))

    def kin(self, algo: str) -> set[str]:
        """The approaches that have the same switches as an algorithm, however set."""
        own = {key for a in self.approaches if a.algo == algo for key in a.switches}
        return {a.name for a in self.approaches if own and a.switches.keys() == own}

    def rank(self, approach: str) -> tuple[int, str]:
        """Sorts rows as the file has them; variants follow what they vary."""
        for place, known in enumerate(self.approaches):
            if approach == known.name:
                return place, ""
        starts = [n for n, known in enumerate(self.approaches) if approach.startswith(known.name)]
        return (starts[0] if starts else len(self.approaches)), approach

    def for_group(self, group: Group) -> list[Published]:
        """The published numbers of a group's approach, in the file's order."""
        return [
            number
            for number in self.numbers
            if self.is_of(number, group) and not unmet(number, group)
        ]

    def is_of(self, number: Published, group: Group) -> bool:
        """Whether a number is of the group's approach and setting."""
        approach = self.approach(group.protocol)
        return number.setting == group.setting and approach in (number.approach, *number.also)


def unmet(number: Published, group: Group) -> list[str]:
    """What differs between the group's runs and those of the number, such as `train_ways=20`."""
    first, backbone = group.runs[0], group.protocol.backbone
    conditions = {
        "bn_stats": ("eval.bn_stats", group.first.test.bn_stats),
        "train_ways": ("train_ways", first.train_ways),
        "train_shots": ("train_shots", first.train_shots),
    }
    found = [conditions[key] for key, v in number.where.items() if conditions[key][1] != v]
    if number.backbone and not f"{backbone}_".startswith(f"{number.backbone}_"):
        found.append(("backbone", backbone))
    return [f"{key}={value}" for key, value in found]


@cache
def literature() -> Literature:
    """The file, checked; raises pydantic's ValidationError if it is not as it should be."""
    content = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    numbers = [
        {**table, **number}
        for entry in content["tables"]
        for table in [{key: value for key, value in entry.items() if key != "numbers"}]
        for number in entry["numbers"]
    ]
    return Literature(
        datasets=content["datasets"],
        approaches=[Approach(**entry) for entry in content["approaches"]],
        numbers=[Published(**number) for number in numbers],
    )


def _differing(switches: Mapping[str, Any], approach: Approach) -> dict[str, Any]:
    """The switches whose values differ from the approach's."""
    own = approach.switches
    return {name: value for name, value in switches.items() if own.get(name, value) != value}


def _switched(switch: tuple[str, bool | str]) -> str:
    name, value = switch
    shown = name.replace("_", " ") if "_" in name or not isinstance(value, bool) else name.upper()
    if isinstance(value, bool):
        return f" {'+' if value else '−'} {shown}"
    return f", {shown} {value}"
