"""Whatever slice a run ends at, the next one goes on from there and comes to the same records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.audits.adversarial import items as adversarial_items
from safeml.audits.adversarial import run as adversarial
from safeml.audits.base import AuditInputs
from safeml.audits.performance import run as performance
from safeml.audits.physical import run as physical
from safeml.audits.slices import Slices
from safeml.classifiers.batches import BatchSize
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import StageResult
from safeml.sealed import Arrays, Form
from safeml.stages.adversarial import AdversarialSettings
from safeml.stages.performance import PerformanceSettings
from safeml.stages.physical import PhysicalSettings
from safeml.store.files import to_json
from safeml.store.journal import Journal
from safeml.threats import Threat
from safeml.work import FORWARD, Cost, Work
from tests import subjects, tiny
from tests.fakes import Answers, dataset

THREATS = tuple(Threat(norm="linf", epsilon=factor * 64 / 255) for factor in (0.97, 1.03))


class Killed(BaseException):
    pass


class Dying:
    """A `Work` that measures `slices` slices and dies at the next one."""

    def __init__(self, work: Work, slices: int) -> None:
        self.work, self.left = work, slices

    def __call__(
        self,
        item: str,
        parts: Mapping[str, Any],
        form: Form,
        measure: Callable[[], Arrays],
        cost: Cost = FORWARD,
    ) -> Arrays:
        def measured() -> Arrays:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return measure()

        return self.work(item, parts, form, measured)


def check_every_end(
    run: Callable[[AuditInputs], StageResult], inputs: AuditInputs, folder: Path, at_least: int
) -> None:
    """End `run` after each slice in its own folder and resume it; and end it six times in one folder. `at_least` slices exist."""
    whole = to_json(run(inputs))

    def once(place: Path, slices: int) -> tuple[bool, int]:
        journal = Journal(place)
        try:
            work = Dying(journal.work("stage", {"model": "m"}), slices)
            found = to_json(run(replace(inputs, work=work)))
        except Killed:
            return False, journal.slices
        assert found == whole
        assert journal.recomputed == []
        return True, journal.slices

    for slices in range(1000):
        done, _ = once(folder / str(slices), slices)
        if done:
            break
        assert once(folder / str(slices), 10**6) == (True, slices)
    assert slices >= at_least
    stride, stored = max(1, slices // 6), 0
    while (
        stored + stride < slices
    ):  # some slices further each time, each run reading back those of the runs before it
        assert once(folder / "common", stride) == (False, stored)
        stored += stride
    assert once(folder / "common", 10**6) == (True, stored)


def test_clean_performance_goes_on_at_any_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "SLICE", 16)
    labels = np.arange(100) % 5
    logits = np.random.default_rng(0).normal(size=(100, 5)) + 2 * np.eye(5)[labels]
    inputs = AuditInputs(Answers(logits), dataset(labels, frames_per_sign=1))
    settings = PerformanceSettings(bootstrap=100)
    check_every_end(lambda given: performance.run(given, settings), inputs, tmp_path, at_least=7)


@pytest.mark.slow
def test_attacks_and_their_checks_go_on_at_any_slice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversarial_items, "SLICE", 16)
    labels = np.arange(24, dtype=np.int64) % 4  # two slices of each attack: a first and a last one
    images = np.rint(subjects.corner_images(labels, low=64 / 255, high=192 / 255) * 255).astype(np.uint8)
    data = ImageDataset("corners", images, labels, tuple("abcd"), frames_per_sign=1)
    inputs = AuditInputs(subjects.corner_oracle(4, scale=10.0), data)
    # Every attack and check has its slices; a few steps of each are as good as the usual hundreds.
    few = {"apgd_steps": 5, "targets": 2, "fmn_steps": 5, "queries": 10}
    settings = AdversarialSettings(images=24, steps=3, batch=16, threats=THREATS, **few)
    check_every_end(lambda given: adversarial.run(given, settings), inputs, tmp_path, at_least=20)


@pytest.mark.slow
def test_sign_threats_go_on_at_any_slice(tmp_path: Path) -> None:
    labels = np.arange(12, dtype=np.int64) % 3
    levels = np.array([60, 128, 196])
    noise = np.random.default_rng(0).integers(-3, 4, (12, 12, 12, 1))
    images = (levels[labels][:, None, None, None] + noise).astype(np.uint8)
    boxes = np.tile(np.array([1, 1, 11, 11], np.float32), (12, 1))
    names = ("Stop", "Speed limit (30km/h)", "Yield")
    test, valid = (
        ImageDataset(name, images + shift, labels, names, frames_per_sign=1, boxes=boxes)
        for name, shift in (("test", np.uint8(0)), ("valid", np.uint8(1)))
    )
    weights = np.tile(levels / 255 / 144, (144, 1))
    inputs = AuditInputs(subjects.linear(weights, -((levels / 255) ** 2) / 2, 20.0), test, valid=valid)
    settings = PhysicalSettings(**{**tiny.PHYSICAL, "images": 12, "batch": 12})
    check_every_end(lambda given: physical.run(given, settings), inputs, tmp_path, at_least=5)


def test_one_more_threat_loses_none_of_the_others(tmp_path: Path) -> None:
    measured: list[str] = []
    slices = {name: Slices(Journal(tmp_path).work("s", {}), 4, {}) for name in ("first", "second")}
    columns = {"images": np.zeros((8, 2, 2, 1), np.uint8), "ids": np.arange(8)}

    def measure(which: str, threat: str) -> None:
        def compute(rows: slice) -> Arrays:
            measured.append(threat)
            return {"robust": np.ones(rows.stop - rows.start, bool)}

        slices[which].measure("pgd", columns, {"threat": threat}, {"robust": ("bool", ())}, compute)

    for threat in ("linf_1", "linf_2"):
        measure("first", threat)
    measured.clear()
    for threat in ("linf_1", "linf_4", "linf_2"):
        measure("second", threat)
    assert measured == ["linf_4", "linf_4"]  # its two slices


def test_arrays_that_are_not_what_was_announced_are_refused() -> None:
    slices = Slices(AuditInputs(Answers(np.eye(2)), dataset(np.arange(2))).work, 4, {"a": BatchSize(1)})
    for wrong in (np.ones(3, bool), np.ones(2, np.uint8)):
        with pytest.raises(StageError, match=r"pgd: robust is .* expected bool \[2\]"):
            slices.measure(
                "pgd",
                {"ids": np.arange(2)},
                {},
                {"robust": ("bool", ())},
                lambda rows, wrong=wrong: {"robust": wrong},
            )


def test_a_batch_that_was_halved_before_the_end_is_still_told_after_it(tmp_path: Path) -> None:
    def run(size: int) -> list[int]:
        slices = Slices(Journal(tmp_path).work("s", {}), 4, {"attacks": BatchSize(64, size=size)})
        form: Form = {"right": ("bool", ())}
        slices.measure("pgd", {"ids": np.arange(2)}, {}, form, lambda rows: {"right": np.ones(2, bool)})
        return [int(finding.evidence["to"] or 0) for finding in slices.halved()]

    assert run(16) == [16]
    assert run(64) == [16]


def test_equal_images_under_other_numbers_are_other_slices(tmp_path: Path) -> None:
    """Random starts depend on an image's number: a slice may not pass for one that looks like it."""
    slices = Slices(Journal(tmp_path).work("s", {}), 4, {})
    columns = {"images": np.zeros((8, 2, 2, 1)), "ids": np.arange(8)}

    def compute(rows: slice) -> Arrays:
        return {"number": np.arange(8)[rows]}

    assert slices.measure("pgd", columns, {}, {"number": ("int64", ())}, compute)["number"].tolist() == list(
        range(8)
    )
