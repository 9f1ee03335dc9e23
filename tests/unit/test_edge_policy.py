"""The policy of updates: settings, hours in a time zone, and staged roll-outs."""

from __future__ import annotations

import calendar
import os
import re
import time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.edge.errors import Usage
from safeml.edge.policy import ProbationPolicy, UpdatePolicy, read_policy
from safeml.edge.rollout import place
from safeml.edge.schedule import allowed, parse_window

pytestmark = pytest.mark.slow


def at(text: str) -> float:
    """Return seconds since 1970 of a time in UTC."""
    return calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M"))


def test_no_settings_give_the_defaults() -> None:
    assert read_policy({}) == UpdatePolicy()


def test_settings_replace_defaults() -> None:
    policy = read_policy({"percent": 5, "quiet_hours": ["22:00-06:00"], "probation": {"starts": 1}})
    assert policy.percent == 5.0
    assert policy.quiet_hours == ("22:00-06:00",)
    assert policy.probation == ProbationPolicy(starts=1)


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ({"percnt": 5}, "unknown key 'percnt'; did you mean percent?"),
        ({"probation": {"start": 1}}, "update.probation has the unknown key 'start'; did you mean starts?"),
        ({"percent": 101}, "update.percent is 101; expected a number from 0 to 100."),
        ({"percent": float("nan")}, "update.percent is nan; expected a number from 0 to 100."),
        ({"percent": True}, "update.percent is True; expected a number"),
        ({"percent": "5"}, "update.percent is '5'; expected a number"),
        ({"probation": {"starts": 1.5}}, "update.probation.starts is 1.5; expected a whole number"),
        ({"probation": {"starts": 0}}, "update.probation.starts is 0; expected a whole number from 1"),
        ({"probation": []}, "update.probation is []; expected an object."),
        ({"quiet_hours": "22:00-06:00"}, "update.quiet_hours is '22:00-06:00'; expected a list"),
        ({"shadow": {"required": 1}}, "update.shadow.required is 1; expected true or false."),
        ({"timezone": None}, "update.timezone is None; expected a text."),
        ({"hook": "restart"}, "update.hook is 'restart'; expected an absolute path."),
    ],
)
def test_a_bad_setting_is_one_sentence(update: dict[str, Any], message: str) -> None:
    with pytest.raises(Usage, match=re.escape(message)):
        read_policy(update)


@pytest.mark.parametrize("text", ["22-06", "24:00-06:00", "22:60-06:00", "22:00-22:00", "", "22:00-06:00 "])
def test_hours_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(Usage):
        parse_window(text)


@given(st.integers(0, 1439), st.integers(0, 1439), st.integers(0, 1439))
def test_a_window_is_the_minutes_from_its_begin_to_its_end(begin: int, end: int, minute: int) -> None:
    if begin == end:
        return
    window = parse_window(f"{begin // 60:02}:{begin % 60:02}-{end // 60:02}:{end % 60:02}")
    inside = (minute - begin) % 1440 < (end - begin) % 1440
    assert window.holds(minute) == inside


@pytest.mark.parametrize(
    ("zone", "now", "expected"),
    [
        ("UTC", "2026-06-01 21:59", True),
        ("UTC", "2026-06-01 22:00", False),
        ("UTC", "2026-06-02 05:59", False),
        ("UTC", "2026-06-02 06:00", True),
        ("Europe/Berlin", "2026-06-01 20:30", False),  # 22:30 in summer
        ("Europe/Berlin", "2026-12-01 20:30", True),  # 21:30 in winter
        ("America/New_York", "2026-06-01 22:30", True),  # 18:30
    ],
)
def test_quiet_hours_are_those_of_the_time_zone(zone: str, now: str, expected: bool) -> None:
    policy = UpdatePolicy(timezone=zone, quiet_hours=("22:00-06:00",))
    assert allowed(policy, at(now), None).now is expected


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns"]
)
def test_hours_agree_with_zoneinfo_through_a_year(zone: str) -> None:
    """zoneinfo reads the zone database itself; the days on which the clocks change are among these."""
    policy = UpdatePolicy(timezone=zone, install_hours=("02:10-03:50",))
    window = parse_window("02:10-03:50")
    from datetime import datetime

    start = at("2026-01-01 00:00")
    for day in range(365):
        now = start + 86400 * day + 60 * (day * 7 % 1440)
        local = datetime.fromtimestamp(now, ZoneInfo(zone))
        assert allowed(policy, now, None).now == window.holds(local.hour * 60 + local.minute)


def test_the_sentence_names_the_next_opening() -> None:
    policy = UpdatePolicy(timezone="Europe/Berlin", quiet_hours=("22:00-06:00",))
    result = allowed(policy, at("2026-06-01 21:00"), None)
    assert result.sentence == (
        "no installation at 2026-06-01 23:00 (Europe/Berlin); the next installation may begin at 2026-06-02 06:00."
    )


def test_hours_that_leave_no_time_are_said() -> None:
    policy = UpdatePolicy(quiet_hours=("00:00-12:00", "12:00-00:00"))
    assert "leave no time" in allowed(policy, at("2026-06-01 21:00"), None).sentence


def test_a_clock_before_the_active_release_is_not_believed() -> None:
    policy = UpdatePolicy(quiet_hours=("22:00-06:00",))
    result = allowed(policy, at("1970-01-01 12:00"), at("2026-06-01 00:00"))
    assert not result.now
    assert "set the clock" in result.sentence
    assert allowed(UpdatePolicy(), at("1970-01-01 12:00"), at("2026-06-01 00:00")).now


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "../../etc/passwd", "/etc/localtime", "", "CET-1CEST"])
def test_an_unknown_zone_is_an_error_and_not_utc(zone: str) -> None:
    with pytest.raises(Usage, match=re.escape("update.timezone is")):
        allowed(UpdatePolicy(timezone=zone, quiet_hours=("22:00-06:00",)), 0.0, None)


def test_the_time_zone_of_the_process_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        allowed(UpdatePolicy(timezone="Europe/Berlin", quiet_hours=("22:00-06:00",)), 0.0, None)
        assert os.environ["TZ"] == "Asia/Tokyo"
        assert time.localtime(0).tm_hour == 9
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_growing_percentage_only_adds_devices() -> None:
    names = [f"device-{number}" for number in range(2000)]
    earlier: set[str] = set()
    for percent in (0, 1, 5, 25, 50, 99, 100):
        joined = {name for name in names if place(name, "signs", 7, percent).joins}
        assert earlier <= joined
        assert abs(len(joined) - 20 * percent) <= 3 * (2000 * 0.25) ** 0.5
        earlier = joined
    assert len(earlier) == 2000


def test_no_device_joins_at_zero_percent() -> None:
    assert not any(place(f"device-{number}", "signs", 7, 0).joins for number in range(20_000))


def test_another_release_or_product_begins_with_other_devices() -> None:
    names = [f"device-{number}" for number in range(2000)]
    first = {name for name in names if place(name, "signs", 7, 10).joins}
    for product, release in (("signs", 8), ("other", 7)):
        other = {name for name in names if place(name, product, release, 10).joins}
        assert len(first & other) < 50  # 20 of 2000 by chance
