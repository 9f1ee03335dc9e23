"""The names of ART's attacks: known without ART, and each either runs or says why not."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from safeml.attacks.art.budget import OutOfTime, Watch, wall
from safeml.attacks.art.registry import ART_ATTACKS, Row, art_attack
from safeml.errors import ConfigError
from safeml.threats import Threat

LINF, L2 = Threat(norm="linf", epsilon=4 / 255), Threat(norm="l2", epsilon=0.5)


def test_names_come_without_a_framework():
    code = (
        "import sys; from safeml.attacks.art.registry import ART_ATTACKS; assert 'hop_skip_jump' in ART_ATTACKS; "
        "print([m for m in ('tensorflow', 'keras', 'art', 'scipy', 'numpy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match='"hopskipjump"; did you mean "hop_skip_jump"'):
        art_attack("hopskipjump")


def test_a_refused_name_says_why():
    with pytest.raises(ConfigError, match="multiprocess"):
        art_attack("auto_attack")


def test_a_bounded_attack_needs_a_threat_in_its_norm():
    assert art_attack("basic_iterative", LINF).fits(LINF)
    with pytest.raises(ConfigError, match="bounded in linf, and the threat is in l2"):
        art_attack("basic_iterative", L2)
    assert art_attack("carlini_l2", LINF).norms == ()


@pytest.mark.parametrize("name", list(ART_ATTACKS))
def test_a_row_runs_or_is_refused(name: str):
    row: Row = ART_ATTACKS[name]
    assert bool(row.refused) != bool(row.note)
    assert row.refused.endswith(".") is False
    assert row.takes_norm is False or len(row.norms) == 2
    assert bool(row.norms) == bool(row.of_epsilon)


def sleep_on() -> None:
    while True:
        time.sleep(0.01)


def lose_one_alarm() -> None:
    with suppress(OutOfTime):
        time.sleep(5)
    time.sleep(5)


def test_the_wall_stops_code_that_asks_nothing():
    watch = Watch()
    watch.start(0.2)
    with pytest.raises(OutOfTime), wall(watch):
        sleep_on()
    assert watch.spent() < 2


def test_the_wall_rings_again_where_the_first_alarm_is_lost():
    watch = Watch()
    watch.start(0.1)
    with pytest.raises(OutOfTime), wall(watch):
        lose_one_alarm()
    assert watch.spent() < 4


def test_the_wall_puts_back_a_timer_with_what_remained():
    import signal

    rung: list[int] = []
    handler = signal.getsignal(signal.SIGALRM)
    running = signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, lambda number, frame: rung.append(number))
    try:
        signal.setitimer(signal.ITIMER_REAL, 30)
        mine = signal.getsignal(signal.SIGALRM)
        watch = Watch()
        watch.start(0.1)
        with pytest.raises(OutOfTime), wall(watch):
            time.sleep(5)
        left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
        assert 20 < left < 30
        assert interval == 0
        assert signal.getsignal(signal.SIGALRM) is mine
        assert rung == []
    finally:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *running)


def test_in_another_thread_the_deadline_is_seen_when_the_model_is_asked():
    said: list[str] = []

    def work() -> None:
        watch = Watch()
        watch.start(0.05)
        with wall(watch):
            time.sleep(0.2)
            said.append("still here")
            try:
                watch.check(1)
            except OutOfTime:
                said.append("stopped")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert said == ["still here", "stopped"]


def test_an_interrupt_goes_through_the_wall():
    watch = Watch()
    watch.start(30)
    with pytest.raises(KeyboardInterrupt), wall(watch):
        raise KeyboardInterrupt
