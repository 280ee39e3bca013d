"""The YAML files, composed for a command line by Hydra's own loader; nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from maml_cli.config import resolvers
from maml_cli.config.own_yaml import require_usable
from maml_cli.config.paths import conf_dir
from maml_cli.core.errors import UsageError, UserError

CONFIG_NAME = "config"
VERSION_BASE = "1.3"


REMEMBERED = 128
"""So many configurations: a tenth of a second each to compose, and half a megabyte to keep."""
_Composed = dict[tuple[object, ...], DictConfig]
_of_the_program: _Composed = {}
"""Of the program's files alone, which stay as they are while it runs."""


class Composer:
    """Composes configurations, and remembers them: composing is slow, and sweeps repeat it.

    `extra_dir` and a `hydra.searchpath` among the arguments add folders of YAML files.
    """

    def __init__(self, arguments: Sequence[str] = (), *, extra_dir: str | None = None) -> None:
        version.setbase(VERSION_BASE)
        setup_globals()
        resolvers.register()
        search_path = create_config_search_path(f"file://{conf_dir()}")
        before_schema = SearchPathQuery(provider="schema", path=None)
        urls = _extra_urls(arguments, extra_dir)
        self.has_own_folders = bool(urls)
        """Whether YAML files of the user's own take part."""
        own = (Path(u.removeprefix("file://")) for u in urls if "pkg:" not in u)
        require_usable(own, conf_dir())
        for url in urls:
            search_path.prepend("command-line", url, before_schema)
        self._loader = ConfigLoaderImpl(search_path)
        self._parser = OverridesParser.create(config_loader=self._loader)
        self._composed: _Composed = {} if urls else _of_the_program

    def parse(self, argument: str) -> Override:
        """One override as Hydra reads it; knows the options that a `glob` means."""
        with understood():
            return self._parser.parse_override(argument)

    def groups(self) -> list[str]:
        """The groups of the application, Hydra's own left out."""
        groups = self._loader.repository.get_group_options("", ObjectType.GROUP)
        return [group for group in groups if group != "hydra"]

    def options(self, group: str) -> list[str]:
        """The options of a group; empty where there is no such group."""
        # not by the loader, which copies everything that it knows at each question
        repository = self._loader.repository
        return repository.get_group_options(group, ObjectType.CONFIG) if group else []

    def about(self, group: str, option: str) -> str:
        """The first comment line of the option's file: one sentence that says what it is."""
        for source in self._loader.get_sources():
            file = Path(source.path, group, f"{option}.yaml")
            if source.scheme() == "file" and file.is_file():
                lines = file.read_text(encoding="utf-8").splitlines()
                comments = (line.lstrip("# ") for line in lines if line.startswith("#"))
                return next((line for line in comments if not line.startswith("@")), "")
        return ""

    def compose(self, lines: Sequence[str], *, sweep: bool = False) -> DictConfig:
        """The configuration with these overrides, to be copied before a change; UsageError."""
        key = (sweep, *lines)
        if key not in self._composed:
            mode = RunMode.MULTIRUN if sweep else RunMode.RUN
            with understood():
                composed = self._loader.load_configuration(CONFIG_NAME, list(lines), mode)
            if len(self._composed) >= REMEMBERED:
                del self._composed[next(iter(self._composed))]  # the oldest
            self._composed[key] = composed
        return self._composed[key]


@contextmanager
def understood() -> Iterator[None]:
    """Whatever Hydra refuses becomes a UsageError: it raises from AssertionError to ValueError."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UsageError(_explained(error)) from error


def _explained(error: BaseException) -> str:
    """What Hydra, OmegaConf or YAML found wrong, in one line that names the file where it can."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{mark.name!s}, line {mark.line + 1}: {error.problem!s}"
    text = str(error).strip()
    if isinstance(error, OmegaConfBaseException):
        text = ": ".join(filter(None, [error.full_key, text.partition("\n")[0]]))
    elif isinstance(error, HydraException):
        text = text.partition("\n\n")[0]  # a search path may follow
    cause = _explained(error.__cause__) if error.__cause__ else ""
    return ": ".join(filter(None, [" ".join(text.split()), cause])) or type(error).__name__


def parse(argument: str) -> Override:
    """One override as Hydra reads it; raises UsageError."""
    with understood():
        return OverridesParser.create().parse_override(argument)


def apply(config: DictConfig, change: Override) -> None:
    """Set one key of a composed configuration as Hydra does; raises UsageError."""
    with understood():
        ConfigLoaderImpl._apply_overrides_to_config([change], config)


def keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Every key of the application as it is typed, sections included; Hydra's own left out."""
    found: list[str] = []
    for name in map(str, config):
        key = f"{prefix}{name}"
        if key == "hydra":
            continue
        found.append(key)
        child = config._get_node(name)
        if isinstance(child, DictConfig) and not child._is_none():
            found += keys(child, f"{key}.")
    return found


def _extra_urls(arguments: Sequence[str], extra_dir: str | None) -> list[str]:
    changes = [parse(argument) for argument in arguments]
    paths = [c.value() for c in changes if c.key_or_group == "hydra.searchpath"]
    urls = [url for path in paths if isinstance(path, list) for url in path if isinstance(url, str)]
    return urls + ([f"file://{Path(extra_dir).resolve()}"] if extra_dir else [])
