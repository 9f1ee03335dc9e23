"""Numbers in words: signs, spaces, decimals, and no number rounded to where it is not."""

from __future__ import annotations

import pytest

from safeml.wording import counted, interval, limit_percent, limit_quantity, number, percent, quantity

THIN = "\u202f"


@pytest.mark.parametrize(
    ("x", "limit", "text"),
    [
        (0.412, None, "41.2"),
        (0.412, 0.45, "41.2"),
        (0.012, 0.02, "1.20"),
        (0.985, 0.99, "98.50"),
        (0.98, 0.98, "98.0"),
        (0.03, 0.03, "3.0"),
        (-0.0031, 0.005, "−0.31"),
        (0.0, 0.02, "0.00"),
        (1.0, None, "100.0"),
        (0.99996, None, "99.996"),
        (0.00004, None, "0.004"),
        (0.94996, 0.95, "94.996"),
        (0.95, 0.95, "95.0"),
        (-0.000000001, None, "0.0000"),
    ],
)
def test_percent(x, limit, text):
    assert percent(x, limit) == f"{text}{THIN}%"


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (10200, "10,200"),
        (3.0, "3"),
        (-3.5, "−3.5"),
        (0.01234, "0.0123"),
        (1234.56, "1,234.6"),
        (0.000012, "1.20e−05"),
        (0, "0"),
    ],
)
def test_number(x, text):
    assert number(x) == text


def test_what_is_not_measured_says_so():
    assert percent(None) == number(None) == quantity(None, "cost") == "not measured"
    assert interval(None, 0.4) == interval(0.4, None) == "no interval"


def test_an_interval_has_one_sign_and_equal_decimals():
    assert interval(0.382, 0.443) == f"38.2 to 44.3{THIN}%"
    assert interval(0.38, 0.44996, 0.45) == f"38.000 to 44.996{THIN}%"
    assert interval(1, 12.5, unit="ratio") == "1 to 12.5"


@pytest.mark.parametrize(
    ("x", "text"), [(0.45, "45"), (0.005, "0.5"), (0, "0"), (1, "100"), (-0.025, "−2.5"), (0.29, "29")]
)
def test_a_limit_has_no_needless_decimals(x, text):
    assert limit_percent(x) == limit_quantity(x, "proportion") == f"{text}{THIN}%"


def test_a_noun_follows_its_count():
    assert [counted(n, "gate") for n in (0, 1, 2000)] == ["0 gates", "1 gate", "2,000 gates"]
    assert counted(2, "gate passes", "gates pass") == "2 gates pass"
