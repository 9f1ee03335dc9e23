"""The verdict as Markdown, for the summary page of a pipeline."""

from __future__ import annotations

import re

from safeml.report.page import titles_of
from safeml.report.rows import gate_row
from safeml.report.states import LOOSER, UNGATED_STATES
from safeml.report.text import LONGEST_NAME, LONGEST_TEXT, short_hash, visible
from safeml.results import GateResult, Run
from safeml.verdict_text import verdict_line
from safeml.wording import number

# GitHub links mentions, issue numbers and addresses after it has undone every escape and entity: only a character
# in between stops it. The same character keeps a text from starting a heading, a list or a rule.
APART = "&#8203;"
SPECIAL = re.compile(
    r"(?P<entity>[<>&|])"
    r"|(?P<escape>[\\`*_\[\]~])"
    r"|(?P<apart>@|#(?=\d)|:(?=//)|www(?=\.)|^[-+#=]+(?=\s|$)|^\d{1,9}(?=[.)](?:\s|$)))",
    re.IGNORECASE,
)


def summary(run: Run, note: str = "") -> str:
    """Return a warning where there is one, verdict, sentence, gates worst first, what no gate reads, looser limits, and what was not tested; every user's string escaped."""
    test = run.test_data
    data = (
        f"data {escape(test.name)} ({escape(short_hash(test.fingerprint))})"
        if test
        else "no test data recorded"
    )
    lines = [
        f"## {escape(run.title)}: {escape(verdict_line(run))}",
        "",
        *([f"**{escape(note, LONGEST_TEXT)}**", ""] if note else []),
        escape(run.verdict.sentence, LONGEST_TEXT),
        "",
        *([escape(run.verdict.detail, LONGEST_TEXT), ""] if run.verdict.detail else []),
        f"Model {escape(run.model.name)} ({escape(short_hash(run.model.fingerprint))}), {data}, "
        f"safeml {escape(run.safeml_version)}.",
        "",
        *gate_table(run),
    ]
    for heading, entries in (
        ("Measured, not gated", [(UNGATED_STATES[e.state].word, e.message) for e in run.verdict.ungated]),
        ("Looser limits", [(LOOSER.word, change.message) for change in run.loosened]),
    ):
        if entries:
            lines += [
                "",
                f"{heading}:",
                "",
                *(f"- {word}: {escape(text, LONGEST_TEXT)}" for word, text in entries),
            ]
    untested = [fact.label for stage in run.stages for fact in stage.not_tested]
    untested += [stage.title for stage in run.stages if stage.status != "ok"]
    if untested:
        lines += ["", f"Not tested: {', '.join(escape(label) for label in dict.fromkeys(untested))}."]
    return "\n".join(lines) + "\n"


def gate_table(run: Run) -> list[str]:
    """Return the lines of a table of all gates, worst first; every user's string escaped."""
    titles = titles_of(run)
    return [
        "| result | gate | measured | 95 % interval | limit | n | sign tracks |",
        "|---|---|---:|---:|---:|---:|---:|",
        *(
            _row(result, titles.get((result.gate.subject, result.gate.stage), result.gate.stage))
            for result in run.verdict.gates
        ),
    ]


def _row(result: GateResult, stage_title: str) -> str:
    row, metric = gate_row(result, stage_title), result.metric
    signs = number(round(metric.signs)) if metric and metric.signs else ""
    gate = f"{escape(row['title'])} ({escape(row['id'])})"
    cells = (escape(cell) for cell in (row["value"], row["interval"], row["limit"], row["n"], signs))
    return f"| {row['state'].word} | {gate} | {' | '.join(cells)} |"


def escape(text: str, limit: int = LONGEST_NAME) -> str:
    """Return the text as GitHub shows it unchanged: no tag, cell, emphasis, link, mention or block starts in it."""
    return SPECIAL.sub(_harmless, visible(text, limit).strip())


def _harmless(match: re.Match[str]) -> str:
    found = match.group()
    if match.lastgroup == "entity":
        return f"&#{ord(found)};"
    return "\\" + found if match.lastgroup == "escape" else found + APART
