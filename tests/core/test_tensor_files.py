"""Files of torch that are made to fill the memory or to keep it busy for ever."""

import io
import zipfile

import pytest
import torch

from maml_cli.core.tensor_files import load_tensors

VALUES = {
    "theta": {"a": torch.arange(6.0).view(2, 3), "b": torch.zeros(())},
    "scores": {0: 0.5, 1: 0.25},
    "shape": (1, (2, 3), "x"),
    "texts": ["a", None, True],
}


def saved(**kind: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(VALUES, buffer, **kind)
    return buffer.getvalue()


def written(program: bytes) -> bytes:
    """A file whose pickle is this program."""
    source, target = zipfile.ZipFile(io.BytesIO(saved())), io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for member in source.infolist():
            is_program = member.filename.endswith("data.pkl")
            archive.writestr(member.filename, program if is_program else source.read(member))
    return target.getvalue()


@pytest.mark.parametrize("zipped", [True, False])
def test_what_torch_saves_is_read(zipped: bool) -> None:
    found = load_tensors(saved(_use_new_zipfile_serialization=zipped), old=True)
    assert found["scores"] == VALUES["scores"]
    assert found["shape"] == VALUES["shape"]
    assert torch.equal(found["theta"]["a"], torch.tensor([[0.0, 1, 2], [3, 4, 5]]))


TWINS = b"\x80\x02K\x01K\x02\x86q\x00" + b"".join(
    b"h%ch%c\x86q%c" % (i, i, i + 1) for i in range(60)
)
"""A pair of which each half is a pair of which each half is ..., 60 levels deep."""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (TWINS + b"}h\x3cK\x01s.", "a tuple in it holds"),
        (b"\x80\x02}" + b"K\x01K\x02\x86" + b"K\x01s.", "a key that is a _Tuple"),
        (b"\x80\x02ccollections\nOrderedDict\n]" + TWINS + b"h\x3ca\x85R.", "a tuple in it holds"),
        (b"\x80\x02" + b"N" * 1000 + b".", "steps, more than 1,000"),
    ],
    ids=["key", "small key", "argument", "steps"],
)
def test_a_program_without_end_is_refused(
    monkeypatch: pytest.MonkeyPatch, program: bytes, said: str
) -> None:
    monkeypatch.setattr("maml_cli.core.tensor_files.CHECKPOINT_STEPS", 1000)
    with pytest.raises(ValueError, match=said):
        load_tensors(written(program))
