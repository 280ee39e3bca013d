"""The memory of a command and all the processes that it starts."""

import re
import subprocess
import time
from pathlib import Path

EVERY_SECONDS = 0.005


def watched(command: list[str]) -> float:
    """Run a command; the most memory in GB it was seen to take. Raises CalledProcessError.

    It is the largest sum of proportional set sizes: what several processes share counts once.
    """
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional_set_size, _family(process.pid))))
            time.sleep(EVERY_SECONDS)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak / 1e9


def _family(pid: int) -> list[int]:
    """A process and all that it has started, as far as they still run."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(member for child in children for member in _family(int(child)))]


def _proportional_set_size(pid: int) -> int:
    """In bytes; 0 of a process that has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
