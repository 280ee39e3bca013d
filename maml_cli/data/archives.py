"""Archives of pictures, by their names."""

from pathlib import Path

from maml_cli.data.files import Files, FolderFiles, ZipFiles
from maml_cli.data.tar_files import TarFiles

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
ARCHIVES = (".zip", *TARS)


def open_archive(path: Path) -> Files:
    """A zip or tar archive, by its name; raises DataError."""
    return TarFiles(path) if path.name.lower().endswith(TARS) else ZipFiles(path)


def is_archive(name: str) -> bool:
    """Whether the name is that of an archive."""
    return name.lower().endswith(ARCHIVES)


def stem(name: str) -> str:
    """The archive's name without its ending: `train` of `train.tar.gz`."""
    ending = max((e for e in ARCHIVES if name.lower().endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)]


def paths_within(below: FolderFiles, suffixes: tuple[str, ...]) -> list[Path]:
    """The files in and below a folder whose names end so."""
    root = below.path.parent
    return [root / name for name in below.names if name.lower().endswith(suffixes)]
