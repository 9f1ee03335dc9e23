"""The verdict as annotations of GitHub Actions: one command for each gate that did not pass, and one for the verdict.

Source: GitHub, "Workflow commands for GitHub Actions".
"""

from __future__ import annotations

from safeml.report.sarif import LEVELS, beside_the_gates
from safeml.report.text import LONGEST_TEXT, visible
from safeml.results import Run
from safeml.verdict_text import title_of, verdict_line

COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}


def workflow_commands(run: Run, file: str, lines: dict[str, int]) -> list[str]:
    """Return the workflow commands, one line each.

    file: the settings file with the limits, or the results, as a relative path. lines: gate id -> line of its threshold.
    """
    commands = []
    if run.verdict.exit_code != 0:
        title = f"{run.title}: {verdict_line(run)}"
        commands.append(_command("error", file, 1, title, run.verdict.sentence))
    for result in run.verdict.gates:
        if result.status in LEVELS:
            level, line = COMMANDS[LEVELS[result.status]], lines.get(result.gate.id, 1)
            title = title_of(result.gate, result.metric) or result.gate.id
            commands.append(_command(level, file, line, title, result.message))
    for _, title, level, message in beside_the_gates(run):
        commands.append(_command(COMMANDS[level], file, 1, title, message))
    return commands


def _command(level: str, file: str, line: int, title: str, message: str) -> str:
    return f"::{level} file={_property(file)},line={line},title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """Escape a message; a line break would end the command, and a text could start another one."""
    return visible(text, LONGEST_TEXT).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
