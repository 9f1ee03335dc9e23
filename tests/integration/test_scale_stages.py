"""Slices of real stages on workers: the same record as in one process; a slice that is missing, altered or measured twice is noticed.

The workers are objects of this process, so that each graph is compiled once; processes are in `test_scale_out`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.audits.adversarial import items as adversarial_items
from safeml.audits.adversarial import run as adversarial
from safeml.audits.base import AuditInputs
from safeml.audits.performance import run as performance
from safeml.audits.perturbation import measure as perturbation_measure
from safeml.audits.perturbation import run as perturbation
from safeml.data.dataset import ImageDataset
from safeml.errors import StageError
from safeml.results import StageResult
from safeml.scale.base import Job, Reply, Task
from safeml.scale.shards import ATTEMPTS, Shards
from safeml.sealed import seal
from safeml.stages.adversarial import AdversarialSettings
from safeml.stages.performance import PerformanceSettings
from safeml.stages.perturbation import PerturbationSettings
from safeml.store.files import to_json
from safeml.store.journal import Journal
from safeml.threats import Threat
from safeml.work import Work
from safeml.worker.follower import Follower
from safeml.worker.process import Worker
from tests import subjects, tiny
from tests.fakes import Answers, dataset
from tests.scale_cases import Here

EVIDENCE = {"model": "m"}
Audit = Callable[[AuditInputs], StageResult]
N, K = 40, 5
_given: dict[str, Any] = {}


@dataclass(frozen=True)
class Given:
    """A job whose inputs are those of the test; see `opening.Opened`."""

    run: Audit
    inputs: AuditInputs
    shared: bool
    identity: dict[str, Any]

    def follow(self, name: str, folder: Path) -> Follower:
        def run(work: Work) -> object:
            return self.run(replace(self.inputs, work=work))

        return Follower(run, Journal(folder).work(name, EVIDENCE))


def open_given(job: Job) -> Given:
    return Given(**_given, identity={})


def workers(run: Audit, inputs: AuditInputs, folder: Path, count: int = 2, shared: bool = True) -> Here:
    _given.update(run=run, inputs=inputs, shared=shared)
    job = Job(
        "run", {}, "", "", "", str(folder), "", {}, opener="tests.integration.test_scale_stages:open_given"
    )
    return Here([Worker(job, f"w{number}") for number in range(count)])


def measured(run: Audit, inputs: AuditInputs, folder: Path, shards: Shards) -> tuple[str, Journal]:
    """Run a stage whose announced slices are measured by workers."""
    journal = Journal(folder, shards)
    try:
        return to_json(run(replace(inputs, work=journal.work("stage", EVIDENCE)))), journal
    finally:
        shards.transport.close()


def clean(monkeypatch: pytest.MonkeyPatch) -> tuple[Audit, AuditInputs]:
    """Ten slices of a table of logits."""
    monkeypatch.setattr(performance, "SLICE", 4)
    labels = np.arange(N) % K
    logits = np.random.default_rng(0).normal(size=(N, K)) + 2 * np.eye(K)[labels]
    settings = PerformanceSettings(bootstrap=100)
    inputs = AuditInputs(Answers(logits), dataset(labels, frames_per_sign=1))
    return lambda given: performance.run(given, settings), inputs


def corrupted(monkeypatch: pytest.MonkeyPatch) -> tuple[Audit, AuditInputs]:
    monkeypatch.setattr(perturbation_measure, "SLICE", 4)
    labels = np.arange(N) % K
    images = np.random.default_rng(0).integers(0, 256, (N, 16, 16, 3)).astype(np.uint8)
    data = ImageDataset("noise", images, labels, tuple("abcde"), frames_per_sign=1)
    settings = PerturbationSettings(**{**tiny.PERTURBATION, "images": N})
    return lambda given: perturbation.run(given, settings), AuditInputs(Mean(), data)


def attacked(monkeypatch: pytest.MonkeyPatch) -> tuple[Audit, AuditInputs]:
    """Attacks whose slices depend on the survivors of those before them."""
    monkeypatch.setattr(adversarial_items, "SLICE", 8)
    labels = np.arange(N, dtype=np.int64) % 4
    images = np.rint(subjects.corner_images(labels, low=64 / 255, high=192 / 255) * 255).astype(np.uint8)
    data = ImageDataset("corners", images, labels, tuple("abcd"), frames_per_sign=1)
    threats = tuple(Threat(norm="linf", epsilon=factor * 64 / 255) for factor in (0.97, 1.03))
    few = {"steps": 3, "apgd_steps": 5, "targets": 2, "fmn_steps": 5, "queries": 10}
    settings = AdversarialSettings(images=N, batch=8, threats=threats, **few)
    inputs = AuditInputs(subjects.corner_oracle(4, scale=10.0), data)
    return lambda given: adversarial.run(given, settings), inputs


class Mean(Answers):
    """The class by the mean of the image."""

    def __init__(self) -> None:
        super().__init__(np.zeros((N, K)))

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        means = images.reshape(len(images), -1).mean(axis=1)
        return np.asarray(-np.abs(means[:, None] - 124 - np.arange(K)), np.float32)


STAGES = [
    clean,
    corrupted,
    pytest.param(attacked, marks=pytest.mark.slow),
]


@pytest.mark.parametrize("stage", STAGES)
def test_any_shards_on_any_workers_give_the_record_of_one_process(
    stage: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, inputs = stage(monkeypatch)
    whole = to_json(run(inputs))
    for slices, count, shared in ((1, 2, True), (2, 3, False), (5, 1, True)):
        folder = tmp_path / str(slices)
        here = workers(run, inputs, folder, count, shared)
        shards = Shards(here, slices)
        record, journal = measured(run, inputs, folder, shards)
        assert record == whole
        assert journal.recomputed == []
        assert journal.slices == 0
        assert 5 < shards.measured <= sum(len(task.slices) for task in here.sent)


def test_a_run_in_one_process_resumes_on_workers_and_the_reverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, inputs = clean(monkeypatch)
    whole = to_json(run(inputs))
    record, _ = measured(run, inputs, tmp_path, Shards(workers(run, inputs, tmp_path)))
    files = sorted(tmp_path.glob("work/stage/*.npz"))
    assert len(files) == 10
    for file in files[::2]:
        file.unlink()
    shards = Shards(workers(run, inputs, tmp_path))
    again, journal = measured(run, inputs, tmp_path, shards)
    assert (shards.measured, journal.slices) == (5, 5)
    alone = Journal(tmp_path)
    assert to_json(run(replace(inputs, work=alone.work("stage", EVIDENCE)))) == again == record == whole
    assert alone.slices == 10


def change_first(here: Here, change: Callable[[Task, Reply], Reply], times: int) -> None:
    """Change the first replies."""
    remaining = [times]

    def changed(task: Task, reply: Reply) -> Reply:
        if reply.kind != "stored" or remaining[0] == 0:
            return reply
        remaining[0] -= 1
        return change(task, reply)

    here.change = changed


def file_of(folder: Path, task: Task) -> Path:
    return folder / "work" / task.stage / task.slices[0]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), "is reported as stored, and is not in the run folder"),
        (lambda file: file.write_bytes(file.read_bytes()[:-40]), "is damaged or truncated"),
        (lambda file: file.write_bytes(seal("0" * 64, {})), "holds other arrays"),
    ],
    ids=["missing", "truncated", "foreign"],
)
def test_a_slice_that_cannot_be_used_is_measured_again_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], Any], reason: str
) -> None:
    run, inputs = clean(monkeypatch)
    whole = to_json(run(inputs))

    def damaged(task: Task, reply: Reply) -> Reply:
        damage(file_of(tmp_path, task))
        return reply

    here = workers(run, inputs, tmp_path)
    change_first(here, damaged, 1)
    record, journal = measured(run, inputs, tmp_path, Shards(here))
    assert record == whole
    assert len(here.sent) == 11
    assert any(reason in entry.reason for entry in journal.recomputed)


def test_a_slice_that_stays_missing_is_an_error_and_never_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, inputs = clean(monkeypatch)

    def lost(task: Task, reply: Reply) -> Reply:
        file_of(tmp_path, task).unlink()
        return reply

    here = workers(run, inputs, tmp_path)
    change_first(here, lost, 1000)
    with pytest.raises(
        StageError,
        match=r"1 slice could not be measured by the workers: predictions-.* is not in the run folder",
    ):
        measured(run, inputs, tmp_path, Shards(here))
    assert len(here.sent) == 10 + ATTEMPTS


def test_two_workers_that_disagree_about_a_slice_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, inputs = clean(monkeypatch)

    def other(task: Task, reply: Reply) -> Reply:
        return replace(reply, digests=dict.fromkeys(task.slices, hashlib.sha256(b"other").hexdigest()))

    here = workers(run, inputs, tmp_path)
    change_first(here, other, 1)
    with pytest.raises(StageError, match="two workers measured it, and their bytes differ"):
        measured(run, inputs, tmp_path, Shards(here))


def test_a_duplicate_of_a_shard_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker is asked again for a slice that its stage is past, as by a scheduler that lost the reply."""
    run, inputs = clean(monkeypatch)
    here = workers(run, inputs, tmp_path, count=1)
    record, _ = measured(run, inputs, tmp_path, Shards(here))
    before = {file: file.read_bytes() for file in tmp_path.glob("work/stage/*.npz")}
    late = workers(run, inputs, tmp_path, count=1)
    first, last = here.sent[0], here.sent[-1]
    replies = [late.workers[0].measure(task) for task in (first, last, first)]
    late.close()
    assert [reply.kind for reply in replies] == ["stored"] * 3
    assert {file: file.read_bytes() for file in tmp_path.glob("work/stage/*.npz")} == before
    assert record == to_json(run(inputs))


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            Reply("killed", reason="it ended 4 workers one after the other"),
            "ended 4 workers .*; it may need more memory",
        ),
        (Reply("gone", reason="none for 60 s"), r"there are no workers any more \(none for 60 s\)"),
        (
            Reply("refused", "w1", reason="has numpy 1.0, and the client has 2.0"),
            "worker w1: has numpy 1.0, and",
        ),
    ],
    ids=lambda given: given.kind if isinstance(given, Reply) else "",
)
def test_what_ends_a_shard_ends_its_stage_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reply: Reply, reason: str
) -> None:
    run, inputs = clean(monkeypatch)
    here = workers(run, inputs, tmp_path)
    change_first(here, lambda task, found: reply, 1)
    shards = Shards(here)
    with pytest.raises(StageError, match=reason):
        measured(run, inputs, tmp_path, shards)
    assert here.tasks == []
    if reply.kind == "gone":  # the next stage does not wait for workers again
        with pytest.raises(StageError, match=reason):
            measured(run, inputs, tmp_path / "next", shards)


def test_a_slice_that_fails_on_a_worker_fails_as_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, inputs = clean(monkeypatch)
    broken = replace(inputs, classifier=Failing(np.zeros((N, K))))
    with pytest.raises(ZeroDivisionError, match="slice of 4"):
        run(broken)
    with pytest.raises(ZeroDivisionError, match="slice of 4"):
        measured(run, broken, tmp_path, Shards(workers(run, broken, tmp_path)))


def test_a_slice_that_fails_on_workers_only_is_measured_by_the_client_and_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, inputs = clean(monkeypatch)
    broken = replace(inputs, classifier=Failing(np.zeros((N, K))))
    record, journal = measured(run, inputs, tmp_path, Shards(workers(run, broken, tmp_path)))
    assert record == to_json(run(inputs))
    reasons = [entry.reason for entry in journal.recomputed]
    assert len(reasons) == 10
    assert all(reason.startswith("failed on worker w") and "slice of 4" in reason for reason in reasons)


class Failing(Answers):
    """Cannot predict."""

    def predict_logits(self, images: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError(f"slice of {len(images)}")
