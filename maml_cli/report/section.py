"""A table of the report, and what tasks and rows are called."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from maml_cli.report.group import Group, Setting
from maml_cli.report.published import literature
from maml_cli.reporting.format import count


class Section(NamedTuple):
    """A table with what must be said of it."""

    title: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    notes: Sequence[str] = ()
    kind: Literal["table", "remark", "register"] = "table"
    """A remark is for who made the runs, not for a paper; a register is for looking up."""


def title(setting: Setting) -> str:
    """`Omniglot 5-way 1-shot`, `Sinusoid 10 points`, `Quadratics`."""
    name = literature().dataset(setting.dataset)
    if setting.ways == 0:
        return name
    if setting.ways == 1:
        return f"{name} {count(setting.shots, 'point', 'points')}"
    return f"{name} {setting.ways}-way {setting.shots}-shot"


def label(group: Group) -> str:
    """The approach, as the rows name it."""
    return literature().approach(group.protocol)
