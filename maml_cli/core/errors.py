"""The ways a run can end that are not bugs; each says the value, the rule and the way out.

Exit codes: 0 done, 1 bug, 2 usage, 3 data, 4 checkpoint, 5 diverged, 6 storage, 130 SIGINT, 143
other signals, the end of `train.max_time`, and the end of another process of the same run.
"""

from maml_cli.core.plain_text import printable


class UserError(Exception):
    """An end that the user can do something about; its text is shown without a traceback."""

    exit_code = 1

    def __init__(self, *messages: str) -> None:
        self.messages = tuple(map(printable, messages))
        super().__init__("\n".join(self.messages))


class UsageError(UserError):
    """The command line or a YAML file asks for something that cannot be done."""

    exit_code = 2


class DataError(UserError):
    """The data are missing, damaged or not what they should be."""

    exit_code = 3


class CheckpointError(UserError):
    """A checkpoint is missing, damaged or belongs to another configuration."""

    exit_code = 4


class DivergedError(UserError):
    """The loss or the meta-gradient is no longer finite."""

    exit_code = 5


class StorageError(UserError):
    """The output directory cannot be written."""

    exit_code = 6


class ProcessLost(UserError):
    """Another process of the run has ended; the run can go on from its checkpoint."""

    exit_code = 143


class OutOfTime(UserError):
    """The time limit ended the run, which can go on from its checkpoint."""

    exit_code = 143


class Interrupted(UserError):
    """A signal ended the run, and a sweep that it is a job of; it can go on from its checkpoint."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code
