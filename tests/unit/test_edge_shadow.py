"""Shadow mode: differences by sign track, their exact bounds, and a promotion that waits for them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from safeml.edge.binomial import upper_bound
from safeml.edge.errors import Usage
from safeml.edge.policy import ShadowPolicy
from safeml.edge.probation import FAILED, OPEN, PASSED
from safeml.edge.shadow import FILE, Comparison, Counts, Seen, judge, read_counts, write_counts
from safeml.edge.shadow_run import Beside, drop_shadow, open_pair, promote_shadow
from safeml.edge.signs import FOLDER, GAP, IMAGE, PREFIX, TRACKS, Signs, kind_of
from safeml.edge.state import BAD, EMPTY, SHADOW
from tests.device import Device
from tests.edge_bundles import FACTS, NOW, refused

pytestmark = pytest.mark.slow


@given(st.integers(1, 3000), st.data())
def test_the_bound_is_that_of_the_beta_distribution(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, total - 1))
    assert upper_bound(count, total) == pytest.approx(beta.ppf(0.975, count + 1, total - count), rel=1e-9)


@pytest.mark.parametrize(("count", "total"), [(0, 10**6), (17, 10**6), (999_999, 10**6), (500_000, 10**6)])
def test_the_bound_of_many_signs(count: int, total: int) -> None:
    high = upper_bound(count, total)
    assert high == pytest.approx(beta.ppf(0.975, count + 1, total - count), rel=1e-7)
    assert binom.cdf(count, total, high) == pytest.approx(0.025, rel=1e-3)


def test_the_bound_in_closed_form() -> None:
    assert upper_bound(0, 79) == pytest.approx(1 - 0.025 ** (1 / 79))
    assert upper_bound(0, 72) <= 0.05 < upper_bound(0, 71)  # the number in docs/updates.md
    assert upper_bound(5, 5) == 1.0
    assert upper_bound(0, 0) == 1.0


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5)])
def test_no_proportion_has_no_bound(count: int, total: int) -> None:
    with pytest.raises(ValueError, match="no proportion"):
        upper_bound(count, total)


TRUSTED, OTHER, ALARM = Seen(1, False), Seen(2, False), Seen(1, True)


def compared(*frames: tuple[Any, Seen, Seen | None]) -> Counts:
    comparison = Comparison()
    for frame in frames:
        comparison.add(*frame)
    return comparison.counts


def test_frames_of_one_sign_count_once() -> None:
    counts = compared(
        ("s1", TRUSTED, TRUSTED),
        ("s1", TRUSTED, OTHER),
        ("s1", TRUSTED, OTHER),
        ("s2", TRUSTED, ALARM),
        ("s2", TRUSTED, ALARM),
        ("s3", TRUSTED, TRUSTED),
    )
    assert counts == Counts(frames=6, signs=3, flips=2, flip_signs=1, new_alarms=2, alarm_signs=1)


def test_an_alarm_of_both_is_no_new_one() -> None:
    assert compared(("s", ALARM, ALARM)) == Counts(frames=1, signs=1, old_alarms=1)
    assert compared(("s", ALARM, TRUSTED)) == Counts(frames=1, signs=1, old_alarms=1)


def test_a_release_without_an_answer_is_a_flip() -> None:
    assert compared(("s", TRUSTED, Seen(None, True))).flips == 1
    assert compared(("s", Seen(None, True), Seen(None, True))).flips == 1


def test_a_failure_of_the_new_release_is_counted_as_all_of_it() -> None:
    counts = compared(("s", TRUSTED, None), ("s", TRUSTED, TRUSTED))
    assert counts == Counts(2, 1, 1, 1, 1, 1, 0, 1)
    assert judge(counts._replace(frames=10**6, signs=10**5), ShadowPolicy()).status == FAILED


POLICY = ShadowPolicy(frames=1000, signs=100, flip_rate=0.05, alarm_rate=0.05)


@pytest.mark.parametrize(
    ("counts", "status"),
    [
        (Counts(), OPEN),
        (Counts(frames=1000, signs=100), PASSED),
        (Counts(frames=999, signs=100), OPEN),
        (Counts(frames=100_000, signs=99), OPEN),  # many frames of few signs are no evidence
        (Counts(frames=1000, signs=100, flips=1, flip_signs=1), OPEN),  # 5.4 %
        (Counts(frames=2000, signs=200, flips=3, flip_signs=3), PASSED),  # 4.3 %
        (Counts(frames=2000, signs=200, flips=9, flip_signs=9), OPEN),
        (Counts(frames=2000, signs=200, flips=20, flip_signs=20), FAILED),
        (Counts(frames=2000, signs=200, new_alarms=20, alarm_signs=20), FAILED),
        (Counts(frames=2000, signs=200, new_alarms=4, alarm_signs=4), OPEN),  # 5.04 %
        (Counts(frames=20, signs=10, flips=10, flip_signs=10), FAILED),  # certain before the fewest frames
    ],
)
def test_the_upper_bound_by_sign_decides(counts: Counts, status: str) -> None:
    result = judge(counts, POLICY)
    assert result.status == status
    assert result.sentence


@given(st.integers(0, 300), st.integers(0, 300))
def test_more_flips_never_help(signs: int, flips: int) -> None:
    order = (FAILED, OPEN, PASSED)
    policy = ShadowPolicy(frames=1, signs=1, flip_rate=0.1, alarm_rate=0.1)
    flips = min(flips, signs)
    rows = [
        judge(Counts(frames=1000, signs=signs, flips=k, flip_signs=k), policy).status
        for k in range(flips, signs + 1, 7)
    ]
    places = [order.index(row) for row in rows]
    assert places == sorted(places, reverse=True)


def test_counts_are_added_over_runs_of_the_same_two_releases(tmp_path: Path) -> None:
    counts = compared(("s", TRUSTED, OTHER))
    write_counts(str(tmp_path), "pair", counts, {"active": 5})
    assert read_counts(str(tmp_path), "pair") == counts
    assert read_counts(str(tmp_path), "other pair") == Counts()
    path = tmp_path / FILE
    path.write_text(path.read_text().replace('"flips": 1', '"flips": 0'))
    assert read_counts(str(tmp_path), "pair") == Counts()


@pytest.mark.parametrize("change", [{"signs": -1}, {"signs": 1.0}, {"flip_signs": 2}, {"signs": 2}])
def test_impossible_counts_are_not_read(tmp_path: Path, change: dict[str, Any]) -> None:
    write_counts(str(tmp_path), "pair", Counts(frames=1, signs=1)._replace(**change), {})
    assert read_counts(str(tmp_path), "pair") == Counts()


def frames(*rows: tuple[str, float, bool]) -> list[SimpleNamespace]:
    return [SimpleNamespace(name=name, time=time, new_sign=new) for name, time, new in rows]


def groups(signs: Signs, rows: list[SimpleNamespace]) -> list[int]:
    """Return how many frames follow each other with one sign."""
    counts, last = [], object()
    for row in rows:
        sign = signs.of(row)
        if sign == last:
            counts[-1] += 1
        else:
            counts.append(1)
        last = sign
    return counts


ROWS = frames(
    ("a/00001_0.png", 0.0, True),
    ("a/00001_1.png", 1.9, False),
    ("a/00002_0.png", 4.0, True),
    ("b/00002_0.png", 4.1, False),
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [(IMAGE, [1, 1, 1, 1]), (FOLDER, [3, 1]), (PREFIX, [2, 1, 1]), (TRACKS, [2, 2]), (GAP, [2, 2])],
)
def test_sign_tracks_as_declared(kind: str, expected: list[int]) -> None:
    assert groups(Signs(kind, 2.0), ROWS) == expected


def test_undeclared_sign_tracks_of_stored_images_are_refused(tmp_path: Path) -> None:
    import numpy as np

    assert kind_of(None, "camera", "camera:0") == GAP
    assert kind_of(IMAGE, "folder", str(tmp_path)) == IMAGE
    with pytest.raises(Usage, match="which frames show the same sign is not declared"):
        kind_of(None, "folder", str(tmp_path))
    np.savez(tmp_path / "plain.npz", images=np.zeros(1))
    np.savez(tmp_path / "tracks.npz", images=np.zeros(1), tracks=np.zeros(1))
    assert kind_of(None, "npz", str(tmp_path / "tracks.npz")) == TRACKS
    with pytest.raises(Usage, match="not declared"):
        kind_of(None, "npz", str(tmp_path / "plain.npz"))
    with pytest.raises(Usage, match="no array `tracks`"):
        kind_of(TRACKS, "npz", str(tmp_path / "plain.npz"))


def test_an_error_of_the_new_release_never_reaches_the_active_one() -> None:
    class Broken:
        def infer(self, frame: Any, live: bool) -> Any:
            raise MemoryError("no memory")

        def judge(self, work: Any) -> Any:
            raise AssertionError("nothing was inferred")

    beside = Beside(Broken(), Signs(IMAGE, 1.0), Comparison(), False)
    answer = SimpleNamespace(decision=SimpleNamespace(predicted=1, action="TRUST"))
    for row in ROWS:
        beside.see(SimpleNamespace(frame=row, logits=[0.0]), answer)
    beside.see(SimpleNamespace(frame=ROWS[0], logits=None), answer)
    assert beside.comparison.counts.failures == 4
    assert beside.first_error == "MemoryError: no memory"


def test_only_a_passed_shadow_run_promotes(tmp_path: Path) -> None:
    device = Device(tmp_path, shadow={"required": True}).committed(5)
    assert device.install(6).event == "shadowed"
    assert device.release == 5
    assert device.begin().watch.counted is False
    with refused("no-other-release"):
        device.rollback()
    with refused("shadow-open"):
        promote_shadow(device.settings, FACTS, NOW)
    pair = open_pair(device.settings, FACTS, NOW)
    assert (pair.old.manifest.release, pair.new.manifest.release) == (5, 6)
    for counts, reason in ((Counts(1000, 99), "open"), (Counts(1000, 100, 50, 50), "failed")):
        write_counts(device.settings.root, pair.name, counts, {})
        with refused("shadow-open"):
            promote_shadow(device.settings, FACTS, NOW)
        assert judge(counts, ShadowPolicy()).status == reason
    write_counts(device.settings.root, pair.name, Counts(1000, 100), {})
    assert (
        promote_shadow(device.settings, FACTS, NOW).sentence == "release 6 is active in slot b, in probation."
    )
    assert device.release == 6
    assert device.rollback().release == 5


def test_counts_of_another_release_promote_nothing(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    device.install(6, shadow=True)
    write_counts(device.settings.root, open_pair(device.settings, FACTS, NOW).name, Counts(1000, 100), {})
    device.install(7, shadow=True)
    with refused("shadow-open"):
        promote_shadow(device.settings, FACTS, NOW)


def test_a_damaged_release_is_not_promoted(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    device.install(6, shadow=True)
    pair = open_pair(device.settings, FACTS, NOW)
    write_counts(device.settings.root, pair.name, Counts(1000, 100), {})
    (Path(pair.new_folder) / "labels.json").write_bytes(b"[]")
    with refused("wrong-length"):
        promote_shadow(device.settings, FACTS, NOW)
    assert device.release == 5


def test_a_shadow_release_can_be_dropped(tmp_path: Path) -> None:
    device = Device(tmp_path).committed(5)
    device.install(6, shadow=True)
    assert device.state.marks["b"] == SHADOW
    drop_shadow(device.settings, FACTS, NOW)
    assert device.state.marks["b"] == EMPTY
    with refused("shadow-open"):
        drop_shadow(device.settings, FACTS, NOW)
    device.install(6, shadow=True)
    drop_shadow(device.settings, FACTS, NOW, "20 of 200 signs with flips")
    assert device.state.marks["b"] == BAD
    assert device.state.unfit == 6


def test_a_first_release_has_nothing_to_run_beside(tmp_path: Path) -> None:
    device = Device(tmp_path, shadow={"required": True})
    assert device.install(5).event == "installed"
    with refused("shadow-open"):
        open_pair(device.settings, FACTS, NOW)


@pytest.fixture
def pair_of_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A device with a real tiny model, and another release beside it; returns what runs the command."""
    import json

    import numpy as np

    from safeml.edge.cli import main
    from safeml.edge.install import install
    from tests.edge_bundles import write_settings
    from tests.edge_slots import HOST, images, slot_bundle

    policy = {"shadow": {"frames": 40, "signs": 40, "flip_rate": 0.1, "alarm_rate": 0.1}}
    path = write_settings(tmp_path / "etc", tmp_path / "root", backend="onnxruntime", update=policy)
    import_module("safeml.edge.commands.preflight")  # it binds the function, so it is imported before
    monkeypatch.setattr("safeml.edge.facts.read_facts", lambda: HOST)
    monkeypatch.setattr("time.time", lambda: float(NOW))
    frames = tmp_path / "frames.npz"
    np.savez(frames, images=images(120, 1), tracks=np.arange(120) // 2)

    def run(scale: float, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        from safeml.edge.changes import commit
        from safeml.edge.settings import read_settings

        settings = read_settings(str(path))
        for release, size in ((5, 10.0), (6, scale)):
            bundle = slot_bundle(tmp_path / f"state{release}", release, scale=size).write(
                tmp_path / f"{release}.safeml"
            )
            install(str(bundle), settings, HOST, NOW, shadow=release == 6)
            commit(settings, HOST, NOW, True)
        lines = tmp_path / "lines.jsonl"
        code = main(["--settings", str(path), "shadow", str(frames), "--out", str(lines), *arguments])
        return code, [json.loads(line) for line in lines.read_text().splitlines()]

    return run


def test_an_equal_release_is_promoted_after_its_shadow_run(
    pair_of_models: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = pair_of_models(10.0, "--promote")
    assert code == 0
    assert len(lines) == 120
    said = capsys.readouterr().out
    assert "passed, 0 of 60 signs with flips (0.0 to 6.0 %, limit 10 %)" in said
    assert "release 6 is active in slot b, in probation." in said


def test_a_release_that_answers_otherwise_fails_its_shadow_run(
    pair_of_models: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A negative scale turns the two classes round; the lines are those of the active release."""
    code, lines = pair_of_models(-10.0, "--promote")
    assert code == 1
    assert "failed, 60 of 60 signs with flips" in capsys.readouterr().out
    assert [line["predicted"] for line in lines] == [k % 2 for k in range(120)]
    device = Device(tmp_path)
    assert device.release == 5
    assert device.state.unfit == 6
    assert device.state.marks["b"] == BAD


def test_too_few_signs_are_added_to_by_the_next_run(
    pair_of_models: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = pair_of_models(10.0, "--frames", "50", "--promote")
    assert code == 5
    assert len(lines) == 50
    assert "25 of 40 signs" in capsys.readouterr().out
    assert Device(tmp_path).release == 5
    assert Device(tmp_path).state.marks["b"] == SHADOW
