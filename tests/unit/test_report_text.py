"""Markdown and JUnit read back by other people's parsers: every text arrives as it was written, and as nothing else."""

from __future__ import annotations

import re
import unicodedata
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from safeml.report.junit import junit
from safeml.report.markdown import summary
from safeml.report.text import LONGEST_TEXT, visible
from safeml.results import Run, StageResult
from tests.sample_run import CASES, HOSTILE, gate, hostile_run, metric, run_of, sample_run, stage

pytestmark = pytest.mark.slow

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
ZERO_WIDTH = "\u200b"
TRICKY = [
    "# Big", "- item", "+ item", "1. first", "12) twelfth", "    code", "===", "---", "- - -", "> quote", "a|b", "\\|", "\\",
    "**b** __b__ *i* _i_ ~~s~~ `c`", "```", "~~~", "![x](y) [x](y) <x@y.z>", "&amp; &#64; &lt;", "@everyone, me@example.org",
    "see #12", "https://example.org and www.example.org", "<!-- -->", "<b>b</b>", "[^1]", "| a | b |", "|---|---|", "a  ",
]  # fmt: skip
MARKS = st.text(alphabet="#-+=*_`~<>|&@\\[]()!.:/1w ;a\n", min_size=1, max_size=40)
TEXTS = st.one_of(MARKS, st.text(min_size=1, max_size=60), st.sampled_from([*TRICKY, *HOSTILE]))


def failed_run(text: str) -> Run:
    """One failed gate, so that the verdict's sentence starts with the gate's title."""
    found = stage("performance", metrics=[metric("clean_accuracy", 0.8, title=text)])
    return run_of([found], [gate("the-gate", "clean_accuracy", title=text)], title=text, profile=text)


def shown(text: str, limit: int = 200) -> str:
    return visible(text, limit).strip()


@given(TEXTS)
def test_markdown_shows_every_text_as_it_is(text: str) -> None:
    run = failed_run(text)
    tokens = PARSER.parse(summary(run))
    blocks = {token.tag for token in tokens if token.tag}
    assert blocks == {"h2", "p", "table", "thead", "tbody", "tr", "th", "td"}
    inlines = [token for token in tokens if token.type == "inline"]
    assert {child.type for token in inlines for child in token.children or []} == {"text"}
    rendered = ["".join(child.content for child in token.children or []) for token in inlines]
    plain = [line.replace(ZERO_WIDTH, "") for line in rendered]
    assert plain[0] == f"{shown(text)}: {shown(f'FAILED (exit code 1), {text} profile')}"
    assert plain[1] == shown(run.verdict.sentence, LONGEST_TEXT)
    assert plain[-7:-5] == ["failed", f"{shown(text)} (the-gate)".strip()]
    assert len(plain) == 3 + 7 + 7  # heading, sentence and identity; the table's head; its one row


@given(TEXTS)
def test_markdown_leaves_nothing_that_github_links(text: str) -> None:
    """Mentions, issue numbers and addresses are linked in the rendered text, after escapes and entities are gone."""
    html = PARSER.render(summary(failed_run(text)))
    found = re.sub(r"<[^>]*>", "", html).replace("&amp;", "&").replace("&lt;", "<")
    assert not re.search(r"@\w|(?<!&)#\d|://|www\.", found, re.IGNORECASE)


def test_the_hostile_summary_is_small_and_has_a_row_a_gate() -> None:
    for run, _ in (sample_run(), hostile_run()):
        text = summary(run)
        rows = [token for token in PARSER.parse(text) if token.type == "tr_open"]
        assert len(rows) == 1 + len(run.gates)
        assert len(text.encode()) < 64 * 1024


@given(TEXTS)
def test_junit_gives_every_text_back(text: str) -> None:
    run = failed_run(text)
    root = ET.fromstring(junit(run).encode())
    assert root.get("name") == visible(text, LONGEST_TEXT)
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.get("message") == visible(run.verdict.gates[0].message, LONGEST_TEXT)
    properties = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert properties["title"] == visible(text, LONGEST_TEXT)


@given(st.lists(st.sampled_from(sorted(CASES)), min_size=1, max_size=6), st.booleans())
def test_junit_counts_what_has_not_passed(states: list[str], crashed: bool) -> None:
    stages: list[StageResult] = []
    gates = []
    for k, state in enumerate(states):
        value, status, waived = CASES[state]
        fields = (
            {"metrics": [metric("a", value)]} if status == "ok" else {"status": status, "reason": "left out"}
        )
        stages.append(stage(f"stage{k}", **fields))
        gates.append(gate(f"gate{k}", "a", f"stage{k}", waiver=waived))
    if crashed:
        stages.append(stage("unread", status="error", reason="it broke"))
    run = run_of(stages, gates)
    root = ET.fromstring(junit(run))
    failures = sum(state in ("fail", "not_proven") for state in states)
    errors = sum(state in ("error", "skipped") for state in states) + crashed
    assert [int(root.get(name, "")) for name in ("tests", "failures", "errors")] == [
        len(states) + crashed,
        failures,
        errors,
    ]
    assert (failures + errors > 0) == (run.verdict.exit_code != 0)
    for name in ("tests", "failures", "errors"):
        assert sum(int(suite.get(name, "")) for suite in root) == int(root.get(name, ""))
    assert root.find(".//skipped") is None


def test_a_waived_case_names_who_answers_and_until_when() -> None:
    value, _, waived = CASES["waived"]
    assert waived is not None
    run = run_of([stage("performance", metrics=[metric("a", value)])], [gate("g", "a", waiver=waived)])
    said = ET.fromstring(junit(run)).findtext(".//system-out") or ""
    assert waived.owner in said
    assert waived.reason in said
    assert waived.until in said


@given(st.text(st.characters(exclude_categories=()), max_size=300), st.integers(1, 250))
def test_visible_text_is_printable_bounded_and_kept_at_both_ends(text: str, limit: int) -> None:
    result = visible(text, limit)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for c in result)
    if len(text) <= limit:
        assert "…" not in result or "…" in text
    else:
        half = (limit - 1) // 2
        assert result == visible(text[:half], limit) + "…" + visible(text[len(text) - half :], limit)
    result.encode()


@pytest.mark.parametrize(
    "c", ["\u202e", "\u2066", "\u200e", "\u061c", "\u200b", "\ufeff", "\ud800", "\x00", "\x9b", "\u3164"]
)
def test_hidden_characters_are_named(c: str) -> None:
    assert visible(f"a{c}b") == f"a⟨U+{ord(c):04X}⟩b"
