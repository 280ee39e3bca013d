"""What this machine can do, whatever a file says of another one."""

import os


def usable_threads(asked: int) -> int:
    """As many threads as asked for, but no more than the machine has cores."""
    return max(1, min(asked, os.cpu_count() or 1))
