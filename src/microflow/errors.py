"""Every error a user can cause: one base, one line, one hint, one exit status.

The command line prints ``error: <message>`` and ``hint: <hint>`` and leaves with ``exit_status``; no user sees a
traceback for a mistake of their own. A message names the place (file, line, column, rule) and never a personal value.
"""

from __future__ import annotations

from pathlib import Path

__all__ = [
    "CheckpointError", "InputError", "JobCancelledError", "JobConflictError", "KeyMaterialError", "MicroflowError",
    "PolicyError", "SchemaError", "SetupError", "StoreError", "TimingContaminationError",
]  # fmt: skip


class MicroflowError(Exception):
    """Base of all errors that a user can cause: a message, and a hint about what to do.

    >>> str(MicroflowError("no such column 'zipp'", hint="columns are: age, zip"))
    "no such column 'zipp' (columns are: age, zip)"
    """

    exit_status = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        # Spark carries exceptions between processes by pickle, which would call the class with its message alone.
        return type(self).__new__, (type(self), self.message), self.__dict__


class InputError(MicroflowError):
    """A file cannot be used at all. Rows that cannot be used are quarantined instead.

    ``path``, ``line`` and ``column`` lead the message as ``file:line: column 'name': ...`` when they are known.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        line: int | None = None,
        column: str | None = None,
        hint: str = "",
    ) -> None:
        place = "" if path is None else f"{path}:" if line is None else f"{path}:{line}:"
        where = f"{place} column {column!r}:" if column else place
        super().__init__(f"{where} {message}".strip(), hint=hint)


class SchemaError(InputError):
    """A data set descriptor is malformed, or does not fit the file it is used on."""


class PolicyError(InputError):
    """A policy is malformed: the message names file, rule and the words allowed."""


class KeyMaterialError(MicroflowError):
    """A token key is missing, too short, or readable by others."""


class SetupError(MicroflowError):
    """A requirement of this machine (Java, PostgreSQL, a broker) is missing or will not start."""


class StoreError(MicroflowError):
    """PostgreSQL refused, or was lost for longer than the retries last."""


class CheckpointError(MicroflowError):
    """A job cannot be resumed: its input, configuration or checkpoint is not the one it began with."""


class JobCancelledError(MicroflowError):
    """The job was asked to stop; what it had committed stays, and it can be resumed."""


class JobConflictError(MicroflowError):
    """Another process is already working on this job."""


class TimingContaminationError(MicroflowError):
    """The timed work touched more than memory while the clock ran; the message names the call site."""
