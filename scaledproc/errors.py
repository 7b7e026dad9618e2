"""Errors that are meant for the person at the keyboard: what is wrong, where, what to do."""


class ScaledprocError(Exception):
    """The run itself cannot go on. Shown as one line, without a traceback; exit code 1."""

    exit_code = 1


class RunInterruptedError(ScaledprocError):
    """Ctrl-C or SIGTERM. Exit code 130 or 143, as of any program that a signal ended."""

    exit_code = 130

    def __init__(self, message: str, signal: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


class DamagedError(ScaledprocError):
    """A file of a run is not what was written."""


class UsageError(ScaledprocError):
    """What was asked for makes no sense or cannot be. Exit code 2."""

    exit_code = 2
