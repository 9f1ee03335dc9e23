"""Strict JSON, moments and versions: one meaning for each text, and nothing but Malformed leaves the readers."""

from __future__ import annotations

import datetime as dt
import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.edge import limits, moments, strict_json
from safeml.edge.strict_json import Malformed

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"[]", "a list; expected an object"),
        (b"3", "an integer; expected an object"),
        (b"null", "null; expected an object"),
        (b'"x"', "a text; expected an object"),
        (b"true", "a truth value; expected an object"),
        (b"{}{}", "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b'{"a": 01}', "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": 1, "a": 1}', 'the key "a" occurs twice'),
        (b'{"b": {"a": 1, "\\u0061": 2}}', 'the key "a" occurs twice'),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": Infinity}', "Infinity is no JSON number"),
        (b'{"a": -Infinity}', "-Infinity is no JSON number"),
        (b'{"a": 1e999}', "too long or too large"),
        (b'{"a": 0.' + b"1" * 50 + b"}", "too long or too large"),
        (b'{"a": 9007199254740993}', "beyond 2^53"),
        (b'{"a": -9007199254740993}', "beyond 2^53"),
        (b'{"a": ' + b"9" * 5000 + b"}", "beyond 2^53"),
        (b'{"a": "\\ud800"}', "half of a surrogate pair"),
        (b'{"\\udc00": 1}', "half of a surrogate pair"),
        (b'{"a": "tab\there"}', "not JSON"),
    ],
)
def test_a_text_with_another_meaning_elsewhere_is_malformed(text: bytes, words: str) -> None:
    with pytest.raises(Malformed) as caught:
        strict_json.parse(text)
    assert words in str(caught.value)


def nested(depth: int) -> bytes:
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


def test_the_depth_is_bounded_before_the_parser_recurses() -> None:
    assert strict_json.parse(nested(limits.JSON_DEPTH))
    for text in (nested(limits.JSON_DEPTH + 1), b'{"a":' + b"[" * 60_000, b"[" * 60_000 + b"]" * 60_000):
        with pytest.raises(Malformed, match="nested deeper"):
            strict_json.parse(text)


def test_brackets_inside_a_text_are_no_nesting() -> None:
    value = {"a": '[{"\\' * 100, "b\\": "]}"}
    assert strict_json.parse(json.dumps(value).encode()) == value


def test_the_number_of_values_is_bounded() -> None:
    with pytest.raises(Malformed, match="more than"):
        strict_json.parse(b'{"a": [' + b"1," * limits.JSON_VALUES + b"1]}")


def test_a_long_text_is_malformed() -> None:
    with pytest.raises(Malformed, match="too long"):
        strict_json.parse(json.dumps({"a": "x" * (limits.JSON_TEXT + 1)}).encode())


def test_reading_is_linear_in_a_text_of_quotes() -> None:
    """A reader that starts again at each quote is quadratic."""
    start = time.process_time()
    with pytest.raises(Malformed):
        strict_json.parse(b'\\"' * 500_000)
    assert time.process_time() - start < 5


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdef", max_size=3), values, max_size=4))
def test_what_is_written_is_read_again(value: dict) -> None:
    written = strict_json.write(value)
    assert strict_json.parse(written) == value == json.loads(written)
    assert strict_json.write(strict_json.parse(written)) == written


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_nothing_but_malformed_leaves_the_parser(data: bytes) -> None:
    try:
        value = strict_json.parse(data)
    except Malformed:
        return
    assert value == json.loads(data)


WHERE = "a.b"


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (lambda v: strict_json.integer(v, WHERE, 1, 5), [1, 5], [0, 6, True, 1.0, "1", None, [], {}]),
        (lambda v: strict_json.number(v, WHERE, 0, 2), [0, 2, 0.5], [-1, 2.1, True, "1", None, math.nan]),
        (lambda v: strict_json.boolean(v, WHERE), [True, False], [0, 1, "true", None]),
        (
            lambda v: strict_json.text(v, WHERE, 3),
            ["a", "abc", "é"],
            ["", "abcd", 1, None, "a\n", "\x7f", "\x9b", "\0"],
        ),
        (lambda v: strict_json.one_of(v, WHERE, ("a", "b")), ["a", "b"], ["", "c", "A", None, 1, []]),
        (lambda v: strict_json.sha256(v, WHERE), ["0" * 64], ["0" * 63, "A" * 64, "0" * 64 + "\n", 0, None]),
        (lambda v: strict_json.items(v, WHERE, 2, 1), [[1], [1, 2]], [[], [1, 2, 3], {}, "ab", None]),
        (lambda v: strict_json.texts(v, WHERE, 2), [(), ("a",), ("a", "b")], [("a", "a"), (1,), ("",)]),
        (
            lambda v: strict_json.fields(v, WHERE, ("a",), ("b",)),
            [{"a": 1}, {"a": 1, "b": 2}],
            [{}, {"b": 1}, {"a": 1, "c": 1}, []],
        ),
        (lambda v: strict_json.optional_text(v, WHERE), [None, "a"], ["", 1]),
    ],
    ids=[
        "integer",
        "number",
        "boolean",
        "text",
        "one_of",
        "sha256",
        "items",
        "texts",
        "fields",
        "optional_text",
    ],
)
def test_a_reader_takes_exact_types_and_ranges(read, good, bad) -> None:  # type: ignore[no-untyped-def]
    for value in good:
        assert read(list(value) if isinstance(value, tuple) else value) == value
    for value in bad:
        with pytest.raises(Malformed, match=r"a\.b"):
            read(list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2000-02-29T12:34:56Z", dt.datetime(2000, 2, 29, 12, 34, 56, tzinfo=dt.UTC).timestamp()),
        (
            "2026-11-29T23:59:59Z",
            dt.datetime(2026, 11, 29, 23, 59, 59, tzinfo=dt.UTC).timestamp(),
        ),
    ],
)
def test_a_moment_is_utc(text: str, seconds: float) -> None:
    assert moments.moment(text, "created") == seconds
    assert moments.utc(seconds) == text


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-29",
        "2026-11-29T12:00:00",
        "2026-11-29T12:00:00+00:00",
        "2026-11-29t12:00:00z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-29T24:00:00Z",
        "2026-11-29T12:60:00Z",
        "2026-11-29T12:00:60Z",
        "0000-01-01T00:00:00Z",
        "1969-12-31T23:59:59Z",
        "2026-11-29T12:00:00Z\n",
        "２026-11-29T12:00:00Z",
        "",
        None,
        1796000000,
    ],
)
def test_another_text_is_no_moment(value: object) -> None:
    with pytest.raises(Malformed, match="created is no moment"):
        moments.moment(value, "created")


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        ("8.2.1", (8, 2, 1)),
        ("10.3.0", (10, 3)),
        ("10.0", (10,)),
        ("0", (0,)),
        ("8.6.1.6", (8, 6, 1, 6)),
        ("10.3.0.26-1+cuda12.5", (10, 3, 0, 26)),
        ("8.2.1rc1", (8, 2, 1)),
        ("v8", None),
        ("", None),
        (None, None),
        (8.2, None),
    ],
)
def test_the_numbers_of_a_version(value: object, numbers: tuple[int, ...] | None) -> None:
    assert moments.numbers(value) == numbers


def test_versions_compare_by_number() -> None:
    order = ["8.2", "8.2.1", "8.10", "9", "10.3", "11"]
    assert sorted(order, key=lambda text: moments.version(text, "least")) == order
    assert moments.version("10", "a") == moments.version("10.0.0", "a")
    for value in ("8.2rc1", "8.", ".8", "8.2.1.0.0", "٨", 8.2, None, "8.2\n"):
        with pytest.raises(Malformed, match="least is no version"):
            moments.version(value, "least")
