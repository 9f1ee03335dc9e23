"""The commands, their exit codes, and one sentence instead of a traceback for a user's mistake."""

from __future__ import annotations

import io
import os
import sys
import traceback
from functools import cache
from typing import Annotated, Any

import typer

from safeml import interruption
from safeml.cli import (
    audit,
    bundle,
    calibrate,
    compare,
    data,
    doctor,
    edge,
    export,
    init,
    inspect,
    keys,
    listing,
    models,
    plan,
    quantize,
    results,
    signing,
    tracking,
    training,
)
from safeml.errors import ExitCode, SafemlError

app = typer.Typer(
    name="safeml",
    help="Robustness and safety audits of image classifiers. The exit code is the verdict: 0 passed, 1 a gate failed, "
    "2 usage or configuration, 3 not proven, 4 evidence missing, 5 an input was refused.",
    no_args_is_help=True,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for group in (
    init,
    plan,
    audit,
    calibrate,
    models,
    inspect,
    training,
    quantize,
    export,
    results,
    signing,
    compare,
    tracking,
    listing,
    doctor,
):
    group.register(app)
app.add_typer(data.app, name="data")
app.add_typer(bundle.app, name="bundle")
app.add_typer(keys.app, name="keys")
app.add_typer(edge.app, name="edge")


def _version(wanted: bool) -> None:
    if wanted:
        from safeml.version import __version__

        typer.echo(f"safeml {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit."),
    ] = False,
) -> None:
    os.environ["SAFEML_DEBUG"] = "1" if debug else ""


class _Output(io.TextIOWrapper):
    """Standard output that tolerates a closed pipe: later output is dropped, the exit code stays the verdict."""

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)


def _kept() -> str:
    """Return what an interrupted command stored. The command is the first word that is not an option."""
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if command not in ("audit", "run", "train", "quantize"):
        return ""
    without = " without --force" if "--force" in sys.argv else ""
    return f"; finished work is stored, and the same command{without} resumes from it"


def main() -> None:
    """Run a command and exit with the verdict as exit code."""
    interruption.listen()
    sys.stdout = _Output(sys.stdout.buffer, sys.stdout.encoding, "replace", line_buffering=True)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        code = _command()
    except SafemlError as error:
        code = _say(str(error), error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _say(f"interrupted{_kept()}.", ExitCode.INTERRUPTED)
    except interruption.Terminated:
        code = _say(f"terminated{_kept()}.", ExitCode.TERMINATED)
    except Exception as error:
        message = getattr(error, "format_message", None)  # Typer's own errors of usage
        code = _unexpected(error) if message is None else _usage(error, message())
    except SystemExit as error:  # of a library: its exit code is no verdict
        code = _defect(error)
    # All output is written; an interrupt while the interpreter exits must not print a traceback.
    interruption.ignore()
    sys.stdout.flush()
    sys.exit(int(code or 0))


@cache
def _built() -> Any:
    """Return the commands with their options, read from the functions once in a process."""
    return typer.main.get_command(app)


def _command() -> Any:
    """Run the command in the arguments and return its exit code. Raises what the command raises, and a stop request."""
    try:
        code = _built()(standalone_mode=False)
    except Exception:
        interruption.check()  # native code may pass on the exception of a signal as an error
        raise
    if code == ExitCode.INTERRUPTED:  # Typer turns Ctrl-C into this code
        raise KeyboardInterrupt
    return code


def _unexpected(error: Exception) -> ExitCode:
    """Print what the system refused as one sentence, and any other error as a defect."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return _say(
            f"{os.fsdecode(error.filename)}: the system refuses it ({error.strerror}); fix that and run the same command.",
            ExitCode.INCOMPLETE,
        )
    return _defect(error)


def _defect(error: BaseException) -> ExitCode:
    """Print the traceback of an unexpected error. No gate was decided, so the exit code is that of missing evidence, not 1."""
    traceback.print_exception(error)
    name = type(error).__name__
    return _say(
        f"the command ended by an unexpected {name}, which is a defect; report it with these lines.",
        ExitCode.INCOMPLETE,
    )


def _usage(error: Exception, message: str) -> ExitCode:
    """Print the help where no command was given, else one sentence.

    Without a command the exit code is that of usage as well: a pipeline that lost its arguments must not pass.
    """
    if type(error).__name__ == "NoArgsIsHelpError":  # of the copy of Click that Typer holds
        typer.echo(message)
        return ExitCode.USAGE
    return _say(_sentence(message), ExitCode.USAGE)


def _sentence(message: str) -> str:
    """Return a usage error with a pointer to the help."""
    return f"{message.rstrip('.')}; `safeml --help` and `safeml COMMAND --help` list the options."


def _say(message: str, code: ExitCode) -> ExitCode:
    if os.environ.get("SAFEML_DEBUG"):
        traceback.print_exc()
    text = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in message)
    print(f"safeml: {text}", file=sys.stderr)  # noqa: T201 - the only place that prints errors
    return code


if __name__ == "__main__":
    main()
