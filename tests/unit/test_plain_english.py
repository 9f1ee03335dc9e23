"""User texts are in plain technical English: no word of a short list of words that a reader would stumble over.

Read are the docstrings and the longer string literals of safeml, its templates, the README and docs.
PENDING names the rooms that are still to be rewritten.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.source_texts import strings

ROOT = Path(__file__).parents[2]

# The pattern and the words to write instead.
FORBIDDEN = {
    r"\bdear(er|est)?\b": "expensive",
    r"\b(the|no|more|further|of|many) looks\b|\blooks (a|an|per) ": "queries",
    r"\b(is|are|was|were) told of\b": "is reported",
    r"\bas ever\b": "nothing",
    r"\bnobody\b|\bwhoever\b": "no one is needed: name the subject, such as 'any user'",
    r"\bspoken on\b": "is computed on",
    r"\bsigns? of (gradient )?masking\b|\bmasking signs?\b": "masking check",
    r"\b(right|wrong) when clean\b": "correctly classified / misclassified when clean",
    r"\bsays? of itself\b": "reports",
    r"\bknobs?\b": "hyperparameters",
    r"\b(interval|it) holds the (limit|threshold)\b": "the confidence interval contains the threshold",
    r"\bfurther signs\b": "more sign tracks",
    r"\bof its own\b": "its own",
    r"\b(tells? nothing|says? nothing|said once|is said|are said)\b": "name the fact that is or is not shown",
    r"\banew\b": "again",
    r"\bgoes on from (there|here)\b|\bgoing on after\b": "resumes",
    r"\ba (point|line|row|logit|folder) an? (epoch|gate|fact|class|stage|image)\b": "one ... per ...",
    r"\bstranger'?s?\b(?!\.(?:py|json)|\]\()": "third-party or untrusted",  # a file has the name
}
PATTERN = re.compile("|".join(f"(?:{pattern})" for pattern in FORBIDDEN), re.IGNORECASE)

# Files and folders that are still to be rewritten. Only remove entries.
PENDING: set[str] = set()


def user_files() -> list[Path]:
    found = [*ROOT.glob("safeml/**/*.py"), *ROOT.glob("safeml/report/templates/*.html")]
    return sorted([*found, ROOT / "README.md", *ROOT.glob("docs/**/*.md")])


def texts(path: Path) -> list[tuple[int, str]]:
    """Line and text of each string literal that holds words (docstrings included), or of each line of another file."""
    if path.suffix != ".py":
        return list(enumerate(path.read_text(encoding="utf-8").splitlines(), 1))
    return list(strings(path))


def is_pending(path: Path) -> bool:
    """Return whether PENDING has the file or a folder above it."""
    place = path.relative_to(ROOT)
    return any(folder.as_posix() in PENDING for folder in (place, *place.parents))


def faults(path: Path) -> list[str]:
    place = path.relative_to(ROOT).as_posix()
    return [
        f"{place}:{line}: {match.group()!r} in {text[max(0, match.start() - 40) : match.end() + 40]!r}"
        for line, text in texts(path)
        for match in PATTERN.finditer(text)
    ]


@pytest.mark.slow
def test_user_texts_hold_no_forbidden_word() -> None:
    found = [fault for path in user_files() if not is_pending(path) for fault in faults(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("the dear attacks", False),
        ("Signs of gradient masking", False),
        ("the number of looks", False),
        ("a deer on the sign", True),
        ("the image looks noisy", True),
        ("a traffic sign of class 14", True),
        ("The confidence interval contains the threshold.", True),
        ("the interval holds the limit", False),
        ("training began anew", False),
        ("one line per epoch", True),
        ("a line an epoch", False),
        ("the command goes on from there", False),
        ("a stranger's model", False),
        ("a strange result", True),
    ],
)
def test_the_list_is_precise(text: str, allowed: bool) -> None:
    assert (PATTERN.search(text) is None) == allowed


def test_the_reader_finds_words_in_docstrings_messages_and_formatted_strings(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text('"""A dear\nattack."""\nx = f(message=f"as ever {y} knobs here")\n')
    assert sum(bool(PATTERN.search(text)) for _, text in texts(file)) == 3
