"""Errors that the user can fix, and the exit code of each.

SafemlError
    ├── ConfigError          2   a setting, a flag or a settings file is invalid
    ├── StageError           4   a stage could not produce its evidence
    └── InputRefused         5   a model, a data file or a results file is damaged, hostile or invalid
        └── MissingInput     2   there is no such file

A message is one sentence: where, what was found, what was expected, what to do.
What the system refuses (OSError) is one sentence too. Any other exception is a defect of safeml: it ends in a traceback and
exit code 4, because no gate was decided.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes, which are the verdict. If several apply: 2 over 5 over 1 over 4 over 3."""

    PASSED = 0
    FAILED = 1
    USAGE = 2
    NOT_PROVEN = 3
    INCOMPLETE = 4
    REFUSED = 5
    INTERRUPTED = 130
    TERMINATED = 143


PRECEDENCE = (
    ExitCode.USAGE,
    ExitCode.REFUSED,
    ExitCode.FAILED,
    ExitCode.INCOMPLETE,
    ExitCode.NOT_PROVEN,
    ExitCode.PASSED,
)


def first_line(error: BaseException, most: int = 200) -> str:
    """Return the message of an exception in one line of at most `most` characters, or its type if it is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


class SafemlError(Exception):
    """A failure with a reason that the user can act on."""

    exit_code = ExitCode.INCOMPLETE


class ConfigError(SafemlError):
    """An invalid setting or flag."""

    exit_code = ExitCode.USAGE


class StageError(SafemlError):
    """A stage that could not produce its evidence."""

    exit_code = ExitCode.INCOMPLETE


class InputRefused(SafemlError):
    """An input that is damaged, hostile or invalid."""

    exit_code = ExitCode.REFUSED


class MissingInput(InputRefused):
    """An input path that does not exist: a wrong argument, so the exit code is that of usage."""

    exit_code = ExitCode.USAGE
