"""YAML files in a folder of the user's choice: they set the experiment, and little of Hydra.

Below `hydra.` a YAML file can name code that runs. So what such a folder changes there is compared
with a short list; what is typed on the command line is the user's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from omegaconf import DictConfig, OmegaConf

from maml_cli.core.errors import UsageError
from maml_cli.core.limits import CONFIG_BYTES
from maml_cli.core.plain_text import printable
from maml_cli.core.regular_files import read_regular
from maml_cli.core.yaml_text import require_small

MOST_FILES = 10_000
"""YAML files in a folder; the program's own has 200."""
FREE = re.compile(
    r"hydra\.(mode|launcher\.(n_jobs|timeout_min|max_num_timeout|signal_delay_s|cpus_per_task|"
    r"gpus_per_node|tasks_per_node|nodes|mem_gb|partition|account|qos|constraint|gres|comment|"
    r"array_parallelism)|sweeper\.(n_trials|n_jobs|direction|max_failure_rate|study_name|"
    r"sampler\.seed|params\.(?!\+*~*hydra)[\w.]+))"
)
"""What a folder may set below `hydra.`: which jobs there are, and what they ask of a cluster."""
PLAIN = re.compile(r"[^\n\r\x00\x1b`$;&|<>]{0,200}")
"""Its values: they may stand in a job's script."""
OF_THE_JOB = ("hydra.runtime.", "hydra.overrides.", "hydra.job.", "hydra.searchpath")
"""Filled in by Hydra from the command line."""
CHOSEN = ("hydra/launcher", "hydra/sweeper")


class Composes(Protocol):
    """See config/compose.py."""

    def compose(self, lines: Sequence[str], *, sweep: bool = False) -> DictConfig: ...
    def options(self, group: str) -> list[str]: ...


def require_usable(folders: Iterable[Path], program: Path) -> None:
    """Raise UsageError naming YAML files that are not regular, too large to be read, or hidden.

    Hydra takes the program's file where both have one of the same name; an equal copy does no harm.
    """
    hidden = []
    for folder in folders:
        files = sorted(islice(folder.rglob("*.yaml"), MOST_FILES + 1)) if folder.is_dir() else []
        if len(files) > MOST_FILES:
            raise UsageError(f"{folder}: has more than {MOST_FILES:,} YAML files; name the one")
        for file in files:
            if file.is_dir():
                continue
            try:
                text = read_regular(file, CONFIG_BYTES, follow=True).decode()
                require_small(text)
                if _hidden(text, program / file.relative_to(folder)):
                    hidden.append(f"{file}: the program has a file of this name, and takes its own")
            except OSError as error:
                raise UsageError(f"{file}: {error.strerror}") from error
            except UnicodeDecodeError:
                continue  # Hydra names it if it is used
            except ValueError as error:
                raise UsageError(f"{file}: {error}") from error
            except Exception:  # noqa: S112 - no YAML: Hydra names it if it is used
                continue
    if hidden:
        raise UsageError(*hidden, "give your file another name, and choose it by that name")


def _hidden(text: str, programs: Path) -> bool:
    return programs.is_file() and programs.read_text(encoding="utf-8") != text


def hydra_problems(own: Composes, program: Composes, lines: Sequence[str]) -> list[str]:
    """What the user's folders change below `hydra.` that they may not, one sentence each.

    `own` composes with those folders and `program` without them. `lines` choose groups.
    """
    found = _flat(own.compose(lines))
    typed = [line for line in lines if line.lstrip("+~").startswith("hydra")]
    try:
        expected = _expected(program, typed, found)
    except UsageError as error:
        return [f"{' '.join(typed)}: comes from a folder of YAML files, not the program ({error})"]
    return [
        f"{key}: a YAML file in a folder may not set it (to {printable(str(value))[:80]}); type it "
        f"on the command line if you mean it: {key}=..."
        for key, value in found.items()
        if value != expected.get(key, _ABSENT)
        and not key.startswith(OF_THE_JOB)
        and not (FREE.fullmatch(key) and PLAIN.fullmatch(str(value)))
    ]


_ABSENT = object()


def _expected(program: Composes, typed: Sequence[str], found: Mapping[str, Any]) -> dict[str, Any]:
    """What the program alone sets, with the launcher and the sweeper that were found."""
    known = _flat(program.compose(_known(program, typed)))
    chosen = []
    for group in CHOSEN:
        key = f"{group.replace('/', '.')}._target_"
        if found.get(key) == known.get(key):
            continue
        for option in program.options(group):
            try:
                if _flat(program.compose([f"{group}={option}"])).get(key) == found.get(key):
                    chosen.append(f"{group}={option}")
                    break
            except UsageError:  # not installed
                continue
    return _flat(program.compose([*_known(program, typed), *chosen])) if chosen else known


def _known(program: Composes, typed: Sequence[str]) -> list[str]:
    """Those of the typed choices that the program has; the others are compared key by key."""
    pairs = [line.lstrip("+~").partition("=") for line in typed]
    return [
        line
        for line, (group, _, option) in zip(typed, pairs, strict=True)
        if group not in CHOSEN or option in program.options(group)
    ]


def _flat(config: DictConfig) -> dict[str, Any]:
    """The part below `hydra`, as `hydra.key` to value; interpolations as they are written."""
    hydra = OmegaConf.to_container(config._get_node("hydra"), resolve=False)
    return dict(_leaves("hydra", hydra))


def _leaves(key: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    else:
        yield key, value
