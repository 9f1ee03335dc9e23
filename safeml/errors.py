"""What can go wrong for a reason that the user can mend, and the exit code of each.

    SafemlError
    ├── ConfigError          2   a setting, a flag or a file of settings is wrong
    ├── StageError           4   a stage could not produce its evidence
    └── InputRefused         5   a model, a data file or a results file is not what it claims to be

A message is one sentence: where, what was found, what was expected, what to do.
Anything else that escapes is a defect of safeml and ends in a traceback.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code is the verdict. Where several apply: 2 beats 5 beats 4 beats 1 beats 3."""

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
    ExitCode.INCOMPLETE,
    ExitCode.FAILED,
    ExitCode.NOT_PROVEN,
    ExitCode.PASSED,
)


def first_line(error: BaseException, most: int = 200) -> str:
    """What an exception says, in one line of at most `most` characters; its kind where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


class SafemlError(Exception):
    """A failure with a reason that the user can act on."""

    exit_code = ExitCode.INCOMPLETE


class ConfigError(SafemlError):
    """A setting or a flag is wrong."""

    exit_code = ExitCode.USAGE


class StageError(SafemlError):
    """A stage could not produce its evidence."""

    exit_code = ExitCode.INCOMPLETE


class InputRefused(SafemlError):
    """An input is damaged, hostile, or not what it claims to be."""

    exit_code = ExitCode.REFUSED
