"""The monitor that the stage hands to a device decides as the stage measured. Legend: N images, K classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from safeml.audits.monitors.carried import handed_over, state_of
from safeml.audits.monitors.measure import measure
from safeml.audits.monitors.metrics import numbers_of
from safeml.audits.monitors.run import run
from safeml.monitors.runtime import Monitor
from safeml.monitors.state import load_state, save_state
from safeml.results import Artefact
from safeml.stages.monitors import SCORES
from tests.monitor_cases import QUICK, K, inputs, signs
from tests.records import codes, metric

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SCORES)
def test_the_monitor_that_a_device_loads_decides_as_the_stage_measured(name: str, tmp_path: Path) -> None:
    """The files that the stage hands over are read back and see every image as a stream of single frames."""

    def written(file: str, content: bytes) -> Artefact:
        (tmp_path / file).write_bytes(content)
        return Artefact.of(file, content)

    given = replace(inputs(test=signs(100, 4, 3)), hand_over=written)
    settings = QUICK.model_copy(update={"score": name, "corruptions": ("contrast",)})
    measured = measure(given, settings)
    numbers = numbers_of(measured, settings, given.seed)
    artefacts, findings = handed_over(given, measured)
    assert ([artefact.name for artefact in artefacts], findings) == (["monitor.json", "monitor.npz"], [])
    assert numbers.one("state_bytes").value < (tmp_path / "monitor.npz").stat().st_size
    state = load_state(str(tmp_path), given.classifier.fingerprint, K, 5)

    clean = measured.judged["clean"].outputs
    monitor = Monitor(state)
    answers = [monitor.update(clean.logits[row], clean.features[row], 0.1 * row) for row in range(len(clean))]
    scores = np.array([answer.decision.score for answer in answers])
    assert scores == pytest.approx(measured.fitted.scores(name, clean), rel=1e-9, abs=1e-6)
    assert ((scores >= state.settings["score_threshold"]) == numbers.trusted).all()
    assert not any(
        answer.decision.action == "TRUST"
        for answer, own in zip(answers, numbers.trusted, strict=True)
        if not own
    )
    covered = [label in answer.classes for label, answer in zip(measured.sample.labels, answers, strict=True)]
    assert np.mean(covered) == numbers.one("set_coverage").value
    assert np.mean([len(answer.classes) for answer in answers]) == numbers.one("set_size").value

    data, outputs, passed = measured.material.measuring, measured.measuring, numbers.passes["clean"]
    monitor, largest, failed = Monitor(state), np.full(len(passed.largest), -np.inf), []
    for place, track in enumerate(np.unique(data.tracks)):
        rows = np.flatnonzero(data.tracks == track)
        assert (np.diff(rows) == 1).all()
        for row in rows:
            answer = monitor.update(
                outputs.logits[row], outputs.features[row], 0.1 * (row + 1), data.images[row], row == rows[0]
            )
            if answer.decision.distance is not None:
                largest[place] = max(largest[place], answer.decision.distance)
            failed.append(answer.check is not None)
    assert largest.tolist() == passed.largest.tolist()
    assert ((largest > state.settings["distance"]["threshold"]) == (passed.first > 0)).all()
    by_sign = [any(np.array(failed)[data.tracks == track]) for track in np.unique(data.tracks)]
    assert 1000 * np.mean(by_sign) == numbers.one("false_alarms_per_1000", "inputs").value


def test_what_a_stream_trusts_is_what_its_single_frames_are_answered(tmp_path: Path) -> None:
    """The state is read back and sees whole tracks in random order."""
    given = inputs(test=signs(20, 4, 3))
    measured = measure(given, QUICK)
    save_state(str(tmp_path), state_of(measured, given.seed, "m"))
    monitor = Monitor(load_state(str(tmp_path), "m", K, 5))
    data, outputs = measured.material.measuring, measured.measuring
    tracks = np.unique(data.tracks)
    place = np.random.default_rng([given.seed, 0x43]).permutation(len(tracks))
    trusted, seconds = {}, 0.0
    for track in tracks[np.argsort(place)]:
        rows = np.flatnonzero(data.tracks == track)
        for row in rows:
            seconds += 0.1
            answer = monitor.update(
                outputs.logits[row], outputs.features[row], seconds, data.images[row], row == rows[0]
            )
            trusted.setdefault(track, []).append(answer.decision.action == "TRUST")
    whole = [one for track in trusted.values() for one in track]
    assert not any(whole[: QUICK.least - 1])  # they fill the first buffer
    numbers = numbers_of(measured, QUICK, given.seed)
    assert 0 < np.mean(whole) == numbers.one("frames_trusted").value < 1
    assert np.mean([any(track) for track in trusted.values()]) == numbers.one("encounters_trusted").value


def test_without_a_threshold_no_monitor_is_handed_over() -> None:
    result = run(inputs(valid=None), QUICK)
    assert result.artefacts == []
    assert metric(result, "set_coverage").status == "undefined"


def test_a_monitor_that_no_device_can_carry_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("safeml.monitors.state.MOST_ARRAY_BYTES", 100)
    result = run(inputs(), QUICK.model_copy(update={"score": "mahalanobis"}))
    assert result.artefacts == []
    assert "monitor-too-large" in codes(result)
