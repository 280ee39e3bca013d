"""Small data sets, and what can be wrong with them.

Each fault damages what one of the layouts wrote, and returns what must then be named.
"""

import os
import pickle
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from faults.damage import flip, halve
from picture_trees import drawings, png, tree, write_files, write_pickles, write_tar, write_zip

from maml_cli.data.files import MAX_BYTES
from maml_cli.data.omniglot_alphabets import ALPHABETS

CLASSES, IMAGES = {"train": 2, "val": 2, "test": 2}, 3
WHOLE = tree(CLASSES, IMAGES)
A_PICTURE = "train/train1/01.png"
A_DRAWING = "Angelic/character01/0001_07.png"
ESCAPED = "escaped.png"
"""What no fault may make appear outside the folder of the data."""
BOMB = MAX_BYTES + 1


def folders(root: Path) -> None:
    write_files(root, WHOLE)


def one_zip(root: Path) -> None:
    write_zip(root / "all.zip", WHOLE)


def one_tar(root: Path) -> None:
    write_tar(root / "all.tar", WHOLE)


def compressed_tar(root: Path) -> None:
    write_tar(root / "all.tgz", WHOLE, "w:gz")


def pickles(root: Path) -> None:
    write_pickles(root, WHOLE)


def omniglot(root: Path) -> None:
    """Archives as large as the real ones, of invented drawings."""
    for part in ALPHABETS:
        write_zip(root / f"{part}.zip", dict(drawings(ALPHABETS, part, 20)))


def no_class(root: Path) -> str:
    shutil.rmtree(root / "val" / "val1")
    return "1 of 2 classes in val"


def no_picture(root: Path) -> str:
    (root / A_PICTURE).unlink()
    return "2 to 3 of 3 images per class in train"


def one_picture_more(root: Path) -> str:
    shutil.copy(root / A_PICTURE, root / A_PICTURE.replace("01", "03"))
    return "up to 4 of 3 images per class in train"


def half_a_picture(root: Path) -> str:
    halve(root / A_PICTURE)
    return A_PICTURE


def a_bit_of_a_picture(root: Path) -> str:
    flip(root / A_PICTURE, 8 * 60)
    return A_PICTURE


def a_picture_that_says_it_is_huge(root: Path) -> str:
    content = png(0)
    header = b"IHDR" + struct.pack(">II", 50_000, 50_000) + content[24:29]
    checksum = struct.pack(">I", zlib.crc32(header))
    (root / A_PICTURE).write_bytes(content[:12] + header + checksum + content[33:])
    return A_PICTURE


def a_link_to_nothing(root: Path) -> str:
    (root / A_PICTURE).unlink()
    (root / A_PICTURE).symlink_to("nowhere.png")
    return A_PICTURE


def no_right_to_a_picture(root: Path) -> str:
    (root / A_PICTURE).chmod(0)
    return A_PICTURE


def no_right_to_a_class(root: Path) -> str:
    (root / A_PICTURE).parent.chmod(0)
    return "train/train1"


def half_an_archive(root: Path) -> str:
    (archive,) = root.iterdir()
    halve(archive)
    return archive.name


def no_archive(root: Path) -> str:
    """What a proxy answers is saved under the archive's name."""
    (archive,) = root.iterdir()
    archive.write_text("<html>404 Not Found</html>")
    return archive.name


def a_bit_of_an_archive(root: Path) -> str:
    flip(root / "all.zip", 8 * (root / "all.zip").read_bytes().index(WHOLE[A_PICTURE]) + 8 * 60)
    return f"all.zip: {A_PICTURE}"


def a_name_in_the_folder_above(root: Path) -> str:
    return leading_out(root, f"../{ESCAPED}")


def a_name_from_the_root(root: Path) -> str:
    return leading_out(root, f"{root.parents[1]}/{ESCAPED}")


def leading_out(root: Path, name: str) -> str:
    """Add a member of this name to the archive, zip or tar."""
    (archive,) = root.iterdir()
    files = {**WHOLE, name: b"x"}
    if archive.suffix == ".zip":
        write_zip(archive, files)
    else:
        write_tar(archive, files, "w:gz" if archive.suffix == ".tgz" else "w")
    return f"{archive.name}: the archive holds names that lead out of it ({name!r}, 1 in all)"


def a_link_in_a_zip(root: Path) -> str:
    info = zipfile.ZipInfo("train/train0/x.png")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(root / "all.zip", "a") as archive:
        archive.writestr(info, "/etc/passwd")
    return "all.zip: the archive holds links or devices ('train/train0/x.png', 1 in all)"


def a_bomb(root: Path) -> str:
    return bomb(root, BOMB)


def a_bomb_that_says_it_is_small(root: Path) -> str:
    return bomb(root, 1000)


def bomb(root: Path, claimed: int) -> str:
    """Put so many bytes in a picture's place that says it is as large as claimed."""
    write_zip(root / "all.zip", {n: c for n, c in WHOLE.items() if n != A_PICTURE})
    with zipfile.ZipFile(root / "all.zip", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(A_PICTURE, bytes(BOMB))
    content = (root / "all.zip").read_bytes()
    assert len(content) < BOMB / 500
    size = struct.pack("<I", BOMB)
    assert content.count(size) == 2  # before the member, and in the table of contents
    (root / "all.zip").write_bytes(content.replace(size, struct.pack("<I", claimed)))
    return f"all.zip: {A_PICTURE}"


def a_compressed_bomb(root: Path) -> str:
    write_tar(root / "all.tgz", {**WHOLE, A_PICTURE: bytes(BOMB)}, "w:gz")
    assert (root / "all.tgz").stat().st_size < BOMB / 500
    return f"all.tgz: {A_PICTURE}"


def many_members(root: Path) -> str:
    with zipfile.ZipFile(root / "all.zip", "a") as archive:
        for number in range(100_000):
            archive.writestr(f"train/train0/{number:06d}.png", b"")
    return "up to 100003 of 3 images per class in train"


def a_link(root: Path) -> str:
    return no_plain_file(root, tarfile.SYMTYPE)


def a_hard_link(root: Path) -> str:
    return no_plain_file(root, tarfile.LNKTYPE)


def a_device(root: Path) -> str:
    return no_plain_file(root, tarfile.CHRTYPE)


def a_pipe(root: Path) -> str:
    return no_plain_file(root, tarfile.FIFOTYPE)


def no_plain_file(root: Path, kind: bytes) -> str:
    """Add a member of this kind to the tar archive."""
    info = tarfile.TarInfo("train/out")
    info.type, info.linkname = kind, str(root.parents[1])
    through = tarfile.TarInfo(f"train/out/{ESCAPED}")
    with tarfile.open(root / "all.tar", "a") as archive:
        archive.addfile(info)
        archive.addfile(through)
    return "all.tar: the archive holds links or devices ('train/out', 1 in all)"


def half_a_pickle(root: Path) -> str:
    halve(root / "mini-imagenet-cache-val.pkl")
    return "mini-imagenet-cache-val.pkl"


class Evil:
    """Makes a file outside when an unrestricted reader meets it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def a_pickle_that_runs_code(root: Path) -> str:
    attack = pickle.dumps({"image_data": Evil(root.parents[1] / ESCAPED), "class_dict": {}})
    (root / "mini-imagenet-cache-val.pkl").write_bytes(attack)
    return "mini-imagenet-cache-val.pkl"


def no_part(root: Path) -> str:
    (root / "images_evaluation.zip").unlink()
    return "has no images_evaluation, as folder or .zip"


def half_a_part(root: Path) -> str:
    halve(root / "images_background.zip")
    return "images_background.zip: not a complete zip archive"


def no_character(root: Path) -> str:
    rewritten(root, lambda name: "Angelic/character01" not in name)
    return "images_evaluation.zip: Angelic/character01 is missing"


def nineteen_drawings(root: Path) -> str:
    rewritten(root, lambda name: not name.endswith(A_DRAWING))
    return "images_evaluation.zip: Angelic/character01 has 19 of 20 drawings"


def a_bit_of_a_drawing(root: Path) -> str:
    content = (root / "images_evaluation.zip").read_bytes()
    flip(root / "images_evaluation.zip", 8 * (content.index(A_DRAWING.encode()) + 80))
    return f"images_evaluation.zip: images_evaluation/{A_DRAWING}"


def rewritten(root: Path, keeps: Callable[[str], bool]) -> None:
    files = {n: c for n, c in drawings(ALPHABETS, "images_evaluation", 20) if keeps(n)}
    write_zip(root / "images_evaluation.zip", files)


FAULTS = {
    folders: [
        *(no_class, no_picture, one_picture_more, half_a_picture, a_bit_of_a_picture),
        *(a_picture_that_says_it_is_huge, a_link_to_nothing),
        *(no_right_to_a_picture, no_right_to_a_class),
    ],
    one_zip: [
        *(half_an_archive, no_archive, a_bit_of_an_archive, many_members),
        *(a_name_in_the_folder_above, a_name_from_the_root, a_link_in_a_zip),
        *(a_bomb, a_bomb_that_says_it_is_small),
    ],
    one_tar: [
        *(half_an_archive, no_archive, a_name_in_the_folder_above, a_name_from_the_root),
        *(a_link, a_hard_link, a_device, a_pipe),
    ],
    compressed_tar: [half_an_archive, no_archive, a_name_in_the_folder_above, a_compressed_bomb],
    pickles: [half_a_pickle, a_pickle_that_runs_code],
    omniglot: [no_part, half_a_part, no_character, nineteen_drawings, a_bit_of_a_drawing],
}
RIGHTS = [no_right_to_a_picture, no_right_to_a_class]
"""Faults that are none for root, who may read everything."""
