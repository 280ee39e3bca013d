"""The YAML files, composed for a command line by Hydra's own loader; nothing is run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from maml_cli.config import resolvers
from maml_cli.paths import conf_dir

CONFIG_NAME = "config"
VERSION_BASE = "1.3"


class Composer:
    """Composes configurations, and remembers each: composing is slow, and sweeps repeat it.

    `extra_dir` and a `hydra.searchpath` among the arguments add folders of YAML files.
    """

    def __init__(self, arguments: Sequence[str] = (), *, extra_dir: str | None = None) -> None:
        version.setbase(VERSION_BASE)
        setup_globals()
        resolvers.register()
        search_path = create_config_search_path(f"file://{conf_dir()}")
        before_schema = SearchPathQuery(provider="schema", path=None)
        for url in _extra_urls(arguments, extra_dir):
            search_path.prepend("command-line", url, before_schema)
        self._loader = ConfigLoaderImpl(search_path)
        self._parser = OverridesParser.create(config_loader=self._loader)
        self._composed: dict[tuple[object, ...], DictConfig] = {}

    def parse(self, argument: str) -> Override:
        """One override as Hydra reads it; knows the options that a `glob` means."""
        return self._parser.parse_override(argument)

    def groups(self) -> list[str]:
        """The groups of the application, Hydra's own left out."""
        return [group for group in self._loader.list_groups("") if group != "hydra"]

    def options(self, group: str) -> list[str]:
        """The options of a group; empty where there is no such group."""
        return self._loader.get_group_options(group, ObjectType.CONFIG) if group else []

    def compose(self, lines: Sequence[str], *, sweep: bool = False) -> DictConfig:
        """The configuration with these overrides; raises whatever Hydra does."""
        key = (sweep, *lines)
        if key not in self._composed:
            mode = RunMode.MULTIRUN if sweep else RunMode.RUN
            self._composed[key] = self._loader.load_configuration(CONFIG_NAME, list(lines), mode)
        return self._composed[key].copy()


def parse(argument: str) -> Override:
    """One override as Hydra reads it; raises HydraException."""
    return OverridesParser.create().parse_override(argument)


def apply(config: DictConfig, change: Override) -> None:
    """Set one key of a composed configuration as Hydra does; raises HydraException."""
    ConfigLoaderImpl._apply_overrides_to_config([change], config)


def keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Every key of the application as it is typed, sections included; Hydra's own left out."""
    found: list[str] = []
    for name in config:
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
