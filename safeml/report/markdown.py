"""The verdict as Markdown, for the summary page of a pipeline."""

from __future__ import annotations

import re

from safeml.report.rows import gate_row
from safeml.report.states import VERDICT_STATES
from safeml.report.text import LONGEST_NAME, LONGEST_TEXT, short_hash, visible
from safeml.results import Run

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+.!|~<>&@$:-])")
# What follows a digit or stands inside a word cannot start any Markdown; escaping it would only hurt the raw reader.
PLAIN = re.compile(r"[A-Za-z0-9 ,;%≥≤=−–—/'\u202f]*")


def summary(run: Run) -> str:
    """Verdict, sentence, gates worst first, and what was not tested; every user's string escaped."""
    titles = {stage.stage: stage.title for stage in run.stages}
    test = next(entry for entry in run.data if entry.role == "test")
    lines = [
        f"## {_escape(run.title)}: {VERDICT_STATES[run.verdict.status].word.upper()} (exit code {run.verdict.exit_code})",
        "",
        _escape(run.verdict.sentence, LONGEST_TEXT),
        "",
        *([_escape(run.verdict.detail, LONGEST_TEXT), ""] if run.verdict.detail else []),
        f"Model {_escape(run.model.name)} (`{short_hash(run.model.fingerprint)}`), data {_escape(test.name)} "
        f"(`{short_hash(test.fingerprint)}`), {_escape(run.profile)} profile, safeml {_escape(run.safeml_version)}.",
        "",
        "| result | gate | measured | 95 % interval | limit | n | signs |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for result in run.verdict.gates:
        row = gate_row(result, titles.get(result.gate.stage, result.gate.stage))
        cells = (
            row["value"],
            row["interval"],
            row["limit"],
            row["n"],
            row["signs"].removesuffix("s").removesuffix(" sign"),
        )
        name = f"{_escape(row['title'])} ({_escape(row['id'])})"
        lines.append(f"| {row['state'].word} | {name} | {' | '.join(_escape(cell) for cell in cells)} |")
    untested = [fact.label for stage in run.stages for fact in stage.not_tested]
    untested += [stage.title for stage in run.stages if stage.status != "ok"]
    if untested:
        lines += ["", f"Not tested: {', '.join(_escape(label) for label in dict.fromkeys(untested))}."]
    return "\n".join(lines) + "\n"


def _escape(text: str, limit: int = LONGEST_NAME) -> str:
    shown = visible(text, limit)
    return shown if PLAIN.fullmatch(shown) else SPECIAL.sub(_entity, shown)


def _entity(match: re.Match[str]) -> str:
    """HTML entities for what would start a tag, a cell or a mention; a backslash for the rest, dots and colons as they are."""
    c = match.group(1)
    if c in ".:-()+!#{}$":
        return c
    return f"&#{ord(c)};" if c in "<>&|@" else "\\" + c
