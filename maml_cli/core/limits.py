"""How large a file of other people may be, in its sizes and once it is read; each with its reason.

A file says itself how large it is, and may say anything. Each limit is far above what the program
writes or what data sets hold, and far below what fills a small machine.
"""

import os

from maml_cli.core.errors import UsageError

VARIABLE = "MAML_LIMITS"
"""This environment variable raises all limits: with `MAML_LIMITS=4` each is four times as high."""

KIB, MIB, GIB = 2**10, 2**20, 2**30

CONFIG_BYTES = 1 * MIB
"""Of a YAML file; the longest that the program writes has 4 KiB."""
YAML_NODES = 20_000
"""Values in a YAML file, counted as often as its aliases repeat them."""
YAML_DEPTH = 30
"""Mappings and lists within each other; the program writes four."""
RESULTS_BYTES = 64 * MIB
"""Of a JSON file of a run; the scores of a million test episodes have 40 MiB."""
METRICS_LINE_BYTES = 4 * MIB
"""Of a line of `metrics.jsonl`; a network with a thousand learned tensors writes 200 KiB."""
METRICS_BYTES = 512 * MIB
"""Of `metrics.jsonl`, which is read line by line."""
PNG_BYTES = 16 * MIB
"""Of a picture that a page embeds; the program's own have 200 KiB."""
CHECKPOINT_BYTES = 1 * GIB
"""Of a checkpoint: 80 million weights with Adam's two averages of each."""
CHECKPOINT_NODES = 1_000_000
"""Values in a checkpoint, counted as often as it repeats them."""
CHECKPOINT_DEPTH = 10
CHECKPOINT_STEPS = 2_000_000
"""Instructions of its pickle, and their arguments: seconds; a thousand tensors have 100,000."""
TUPLE_ITEMS = 1000
"""Values in a tuple of a checkpoint, counted as often as it repeats them; ten are usual."""
PICTURE_BYTES = 64 * MIB
"""Of the file of a picture, and of any member of an archive that is read."""
PICTURE_PIXELS = 64_000_000
"""A camera's have 12 to 50 million; decoded, this is 256 MiB."""
LARGE_PICTURE_PIXELS = 4_000_000
"""Pictures from this size on are decoded one at a time, so that memory holds one of them."""
ARCHIVE_HEADER_BYTES = 1 * MIB
"""Of a name or another header in a tar archive, which `tarfile` reads in one piece."""
ARCHIVE_RATIO = 100
"""An archive of pictures is at most 10 times as large when it is unpacked; noise apart, so is any
honest one."""
ARCHIVE_SLACK_BYTES = 256 * MIB
"""Small archives may be packed better."""
TABLE_BYTES = 256 * MIB
"""Of a CSV file: five million points of two inputs and an output."""
PICKLE_STEPS = 20_000_000
"""Instructions of a pickle of pictures: ten seconds; the cached Mini-ImageNet has 200,000."""


def scaled(limit: int) -> int:
    """The limit, raised as the environment says; raises UsageError."""
    text = os.environ.get(VARIABLE, "1")
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 1 <= factor <= 2**20:
        raise UsageError(f"{VARIABLE}={text}: must be a number from 1 to 1048576")
    return int(limit * factor)


def too_large(amount: int, limit: int, unit: str = "bytes") -> str:
    """The words that refuse an amount above a limit (after `scaled`), and the way out."""
    return (
        f"{amount:,} {unit}, more than {limit:,}; if you trust it, {VARIABLE}=4 (an environment "
        "variable) raises every limit fourfold"
    )
