"""Tar archives are read where they are; one that no honest person makes is refused."""

import io
import tarfile
import zipfile

import pytest
from picture_trees import write_tar, write_zip

from maml_cli.core.errors import DataError
from maml_cli.data import tar_files
from maml_cli.data.files import ZipFiles
from maml_cli.data.tar_files import TarFiles

CONTENT = {"./set/b/2.png": b"two", "./set/a/1.png": b"one", "./set/a/._1.png": b"noise"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_members_are_read_whatever_the_compression(tmp_path, mode):
    write_tar(tmp_path / "set.tar", CONTENT, mode)
    files = TarFiles(tmp_path / "set.tar")
    assert files.names == ["set/a/1.png", "set/b/2.png"]
    assert [files.read(name) for name in files.names] == [b"one", b"two"]
    assert files.place("set/b/2.png") < files.place("set/a/1.png")  # as they were written


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_truncated_archive_is_named(tmp_path, mode):
    write_tar(tmp_path / "set.tar", {"a/1.png": bytes(range(256)) * 100}, mode)
    content = (tmp_path / "set.tar").read_bytes()
    (tmp_path / "set.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"set\.tar: "):
        TarFiles(tmp_path / "set.tar").read("a/1.png")


def test_an_archive_that_ends_between_two_members_is_cut_short(tmp_path):
    write_tar(tmp_path / "set.tar", {"a/1.png": b"one", "a/2.png": b"two"})
    content = (tmp_path / "set.tar").read_bytes()
    (tmp_path / "set.tar").write_bytes(content[:1024])  # a header and a block each
    with pytest.raises(DataError, match=r"set\.tar: not a complete tar archive"):
        TarFiles(tmp_path / "set.tar")


def test_a_member_that_claims_to_be_huge_is_not_read(tmp_path, monkeypatch):
    write_tar(tmp_path / "set.tar", {"a/1.png": b"12345"})
    monkeypatch.setattr(tar_files, "MAX_BYTES", 4)
    with pytest.raises(DataError, match=r"a/1\.png says it is larger than 4 bytes"):
        TarFiles(tmp_path / "set.tar").read("a/1.png")


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/etc/x.png", "C:/x.png", "a\\..\\x.png", "\\x.png"]
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_leads_out_is_refused(tmp_path, name, kind):
    path = tmp_path / "in" / f"set.{kind}"
    (write_zip if kind == "zip" else write_tar)(path, {"a/1.png": b"one", name: b"two"})
    with pytest.raises(DataError, match=r"set\.(zip|tar): the archive holds names that lead out"):
        (ZipFiles if kind == "zip" else TarFiles)(path)
    assert list(tmp_path.iterdir()) == [tmp_path / "in"]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "hardlink", "character device", "block device", "pipe"],
)
def test_a_link_or_device_in_a_tar_archive_is_refused(tmp_path, kind):
    member = tarfile.TarInfo("train/a/1.png")
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.addfile(member, io.BytesIO())
    with pytest.raises(DataError, match=r"links or devices \('train/a/1\.png', 1 in all\)"):
        TarFiles(tmp_path / "set.tar")


def test_a_link_in_a_zip_archive_is_refused(tmp_path):
    member = zipfile.ZipInfo("train/a/1.png")
    member.create_system, member.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(DataError, match="links or devices"):
        ZipFiles(tmp_path / "set.zip")


@pytest.mark.parametrize("headers", [{"GNU.sparse.map": "a,b"}, {"size": "-1024"}], ids=str)
def test_numbers_in_a_header_that_cannot_be_are_refused(tmp_path, headers):
    with tarfile.open(tmp_path / "set.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("a/1.png")
        member.pax_headers = headers
        archive.addfile(member)
    with pytest.raises(DataError, match=r"set\.tar: not a complete tar archive"):
        TarFiles(tmp_path / "set.tar")
