"""Run settings in temporary folders, stand-ins for Omniglot, and where the real one is."""

import dataclasses
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from picture_trees import drawings

from maml_cli.core.settings import RunSettings
from maml_cli.data.omniglot_alphabets import ALPHABETS

REPOSITORY = Path(__file__).parents[2]
SMALL = {"images_background": {"Aleph": 2, "Beth_(old)": 1}, "images_evaluation": {"Beth": 2}}


@pytest.fixture
def run_settings(tmp_path: Path) -> Callable[..., RunSettings]:
    base = RunSettings(
        ways=5,
        train_ways=None,
        shots=1,
        train_shots=None,
        queries=2,
        train_queries=None,
        seed=0,
        device="cpu",
        engine="auto",
        data_dir=str(tmp_path / "data"),
        cache_dir=str(tmp_path / "cache"),
        download=False,
        resume="auto",
        init_from=None,
        logger=None,
    )
    return lambda **changes: dataclasses.replace(base, **changes)


@pytest.fixture
def real_data() -> Path:
    """The folder that holds the real omniglot/."""
    folder = Path(os.environ.get("MAML_DATA_DIR", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "omniglot").is_dir():
        pytest.skip(f"no omniglot/ in {folder}: set MAML_DATA_DIR to test on the real drawings")
    return folder


@pytest.fixture
def small_files() -> dict[str, dict[str, bytes]]:
    """Per part of SMALL, the files of its characters, three drawings each."""
    return {part: dict(drawings(SMALL, part, 3)) for part in SMALL}


def write_zip(root: Path, parts: Mapping[str, Mapping[str, bytes]]) -> None:
    root.mkdir(parents=True, exist_ok=True)
    for part, files in parts.items():
        with zipfile.ZipFile(root / f"{part}.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)


def write_folder(root: Path, parts: Mapping[str, Mapping[str, bytes]]) -> None:
    for files in parts.values():
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)


@pytest.fixture(params=[write_zip, write_folder], ids=["zip", "folder"])
def write(
    request: pytest.FixtureRequest,
) -> Callable[[Path, Mapping[str, Mapping[str, bytes]]], None]:
    """Writes the files of each part below a folder, as an archive or as they are."""
    return request.param


@pytest.fixture(scope="session")
def full_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with omniglot/: archives as large as the real ones, of invented drawings."""
    folder = tmp_path_factory.mktemp("full_size")
    write_zip(
        folder / "omniglot", {part: dict(drawings(ALPHABETS, part, 20)) for part in ALPHABETS}
    )
    return folder


@pytest.fixture
def full_size_run(
    run_settings: Callable[..., RunSettings], full_size: Path
) -> Callable[..., RunSettings]:
    """Settings for `full_size`, whose drawings are decoded for the first test only."""
    folders = {"data_dir": str(full_size), "cache_dir": str(full_size / "cache")}
    return lambda **changes: run_settings(**folders, **changes)
