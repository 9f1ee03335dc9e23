"""Which input contract a model wants, on models whose answers under each contract are known. Legend: N images, K classes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from typer.testing import CliRunner

from safeml.classifiers.contract import contract_key
from safeml.cli import inspect as command
from safeml.config.audit import parse_config
from safeml.contracts import words
from safeml.contracts.candidates import candidates, text_sorted
from safeml.contracts.decide import inspect_model
from safeml.contracts.measure import NO_ANSWER, halves, named, part
from safeml.contracts.permutation import best_assignment
from safeml.contracts.records import Outcome
from safeml.contracts.result import contract_run, stage_result
from safeml.contracts.search import round_sizes
from safeml.data.dataset import ImageDataset
from safeml.defaults import new_config
from safeml.errors import InputRefused
from safeml.report.write import write_page
from safeml.results import Table
from safeml.settings.model import InputSettings
from safeml.settings.toml_file import read_toml
from tests.fakes import Answers, numbered_images

K = 43
RawAnswers = Callable[[InputSettings], np.ndarray]


@dataclass(frozen=True, eq=False)
class FakeModel:
    """Gives, under each contract, the largest outputs int [N] that `raw` says; NO_ANSWER is not finite."""

    raw: RawAnswers
    outputs: int = K
    input_shape: tuple[int | None, int | None, int | None] = (16, 16, 3)
    where: str = "model.keras"
    gives: str = "logits"
    parameters: int = 10
    fingerprint: str = "f" * 64
    notes: tuple[str, ...] = ()

    def fed(self, contract: InputSettings, class_names: tuple[str, ...], name: str) -> Answers:
        assert contract.class_order is None  # outputs are asked once for all class orders
        raw = self.raw(contract)
        table = np.eye(self.outputs)[raw]
        table[raw == NO_ANSWER] = np.nan
        return Answers(table, name)


def photos(
    count: int = 4000, classes: int = K, seed: int = 0, channels: int = 3, **columns: object
) -> ImageDataset:
    labels = np.random.default_rng(seed).integers(0, classes, count)
    names = tuple(f"class {k}" for k in range(classes))
    images = np.repeat(numbered_images(count), channels, axis=3)
    return ImageDataset("photos", images, labels, names, **columns)


def right_at(data: ImageDataset, share: float, seed: int = 1) -> np.ndarray:
    """Answers of which `share` are right, the others wrong; the same images are the hard ones at every share."""
    rng = np.random.default_rng(seed)
    hard = rng.random(len(data))
    wrong = (data.labels + rng.integers(1, data.classes, len(data))) % data.classes
    return np.where(hard < share, data.labels, wrong)


def model_with(
    data: ImageDataset, shares: dict[tuple, float], rest: float = 0.05, **fields: object
) -> FakeModel:
    """A model that is right on these shares under (channels, range), and on `rest` under everything else."""

    def raw(contract: InputSettings) -> np.ndarray:
        plain = not contract.standardise and not contract.mean
        key = (contract.channels, contract.range) if plain else None
        return right_at(data, shares.get(key, rest))

    return FakeModel(raw, **fields)


def test_a_clear_winner_is_proposed_with_its_runner_up() -> None:
    data = photos()
    found = inspect_model(model_with(data, {("bgr", (-1, 1)): 0.95, ("rgb", (-1, 1)): 0.6}), data)
    assert (found.status, found.reason, found.rounds) == ("proposed", "", (400,))
    assert found.winner is not None
    assert found.runner_up is not None
    assert (found.winner.settings.channels, found.winner.settings.range) == ("bgr", (-1, 1))
    assert found.winner.settings.class_order is None
    assert found.runner_up.settings.channels == "rgb"
    assert found.winner.name in found.sentence
    assert found.runner_up.name in found.sentence
    assert found.warnings == ()
    accuracy = found.winner.accuracy
    assert accuracy is not None
    exact = binomtest(round(accuracy.value * 400), 400).proportion_ci(0.95, "exact")
    assert (accuracy.low, accuracy.high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert any("author may have trained on these images" in note for note in found.notes)
    assert any("count as independent" in note for note in found.notes)


def test_declared_frames_of_a_sign_widen_the_intervals_and_end_the_note() -> None:
    data = photos()
    model = model_with(data, {("rgb", (0, 1)): 0.95})
    alone = inspect_model(model, data)
    framed = inspect_model(model, replace(data, frames_per_sign=30))
    assert framed.winner.accuracy.low < alone.winner.accuracy.low
    assert framed.winner.accuracy.clustering == "declared"
    assert not any("count as independent" in note for note in framed.notes)


def test_better_on_these_images_but_not_proven_for_other_signs_is_proposed_with_the_doubt() -> None:
    data = photos(4000, frames_per_sign=15)
    model = model_with(data, {("rgb", (0, 1)): 0.955, ("rgb", (0, 255)): 0.947})
    found = inspect_model(model, data)
    assert (found.status, found.rounds) == ("proposed", (400, 1600, 4000))
    assert found.winner.settings.range == (0, 1)
    assert found.runner_up.name == "RGB, 0..255"
    assert found.runner_up.kept
    assert found.runner_up.drop.low < 0 < found.runner_up.drop.value
    assert "not once frames of the same sign" in found.warnings[0]
    assert '"RGB, 0..255"' in found.warnings[0]


def test_two_contracts_with_the_same_answers_cannot_be_told_apart() -> None:
    data = photos(2000)
    model = model_with(data, {("rgb", (0, 1)): 0.95, ("rgb", (0, 255)): 0.95})
    found = inspect_model(model, data)
    assert (found.status, found.reason, found.winner) == ("cannot_tell", "same", None)
    assert found.same == ("RGB, 0..1", "RGB, 0..255")
    assert found.rounds == (400, 1600, 2000)
    assert "same predictions on all 2,000 images" in found.sentence


def test_two_contracts_of_one_accuracy_but_other_answers_cannot_be_told_apart() -> None:
    data = photos(1000)

    def raw(contract: InputSettings) -> np.ndarray:
        near = contract.channels == "rgb" and not contract.standardise and not contract.mean
        if near and contract.range[1] in (1, 255) and contract.range[0] == 0:
            return right_at(data, 0.9, seed=int(contract.range[1]))
        return right_at(data, 0.05)

    found = inspect_model(FakeModel(raw), data)
    assert (found.reason, set(found.same)) == ("same", {"RGB, 0..1", "RGB, 0..255"})
    answers = [right_at(data, 0.9, seed=s) for s in (1, 255)]
    assert f"their predictions differ on {(answers[0] != answers[1]).sum()}" in found.sentence


@pytest.mark.parametrize("kind", ["random", "constant", "never finite"])
def test_a_model_at_chance_is_called_that(kind: str) -> None:
    data = photos(1500)

    def raw(contract: InputSettings) -> np.ndarray:
        if kind == "random":
            return np.random.default_rng(len(repr(contract))).integers(0, K, len(data))
        return np.full(len(data), 7 if kind == "constant" else NO_ANSWER)

    found = inspect_model(FakeModel(raw), data)
    assert (found.status, found.reason, found.permutation) == ("cannot_tell", "chance", None)
    assert found.chance == np.bincount(data.labels).max() / 1500
    assert "no better than chance under all 28 contracts" in found.sentence


def test_naming_the_most_frequent_class_is_chance_however_often_it_is_right() -> None:
    data = photos(1000)
    data = replace(data, labels=np.where(np.arange(1000) % 10 < 6, 3, data.labels))
    found = inspect_model(FakeModel(lambda contract: np.full(1000, 3)), data)
    assert found.reason == "chance"
    assert found.tried[0].accuracy.value == np.mean(data.labels == 3) > 0.6


def test_knowing_groups_of_classes_is_no_permutation() -> None:
    """One output for each 6 classes: an assignment lifts it above chance, as it does a random network, and proves nothing."""
    data = photos(3000)
    found = inspect_model(FakeModel(lambda contract: (data.labels // 6 * 6 + 20) % K), data)
    assert (found.reason, found.permutation) == ("chance", None)


def test_permuted_classes_are_shown_and_never_proposed() -> None:
    data = photos()
    output_of = np.random.default_rng(5).permutation(K)  # the output that stands for each class
    good, bad = output_of[right_at(data, 0.95)], right_at(data, 0.06)

    def raw(contract: InputSettings) -> np.ndarray:
        return (
            good if contract.channels == "bgr" and contract.range == (0, 255) and not contract.mean else bad
        )

    found = inspect_model(FakeModel(raw), data)
    assert (found.status, found.reason, found.winner) == ("cannot_tell", "permutation", None)
    seen = found.permutation
    assert seen is not None
    assert seen.contract == "BGR, 0..255"
    assert np.array_equal(np.array(seen.class_of_output)[output_of], np.arange(K))
    assert seen.permuted.value == pytest.approx(0.95, abs=0.02)
    assert seen.permuted.n == 2000  # measured on the half that it was not fitted on
    assert seen.as_given.value < 0.2
    assert seen.thin == sum(count < 3 for count in seen.support) == 0


def test_outputs_with_few_images_are_counted_as_thin() -> None:
    data = photos(6000)
    data = data.take(np.flatnonzero((data.labels != 4) | (np.arange(6000) < 50)))
    output_of = np.roll(np.arange(K), 1)
    model = FakeModel(lambda contract: output_of[right_at(photos(6000), 0.97)])
    seen = inspect_model(model, data).permutation
    assert seen is not None
    assert seen.thin == 1
    assert seen.support[output_of[4]] < 3
    assert seen.thin_classes == (4,)
    found = inspect_model(model, data)
    assert "The assignment of class 4 rests on fewer than 3 supporting images" in found.sentence


@pytest.mark.parametrize(("second", "known"), [(0.8, True), (0.95, False)])
def test_the_best_permuted_contract_is_stated_with_its_runner_up(second: float, known: bool) -> None:
    """The best is the same feed under another class order; its runner-up may be as good, which leaves the feed open."""
    data = photos()
    output_of = np.random.default_rng(5).permutation(K)
    shares = {("bgr", (0, 255)): 0.95, ("rgb", (0, 255)): second}

    def raw(contract: InputSettings) -> np.ndarray:
        key = (contract.channels, contract.range)
        if contract.mean or contract.standardise or key not in shares:
            return right_at(data, 0.06)
        return output_of[right_at(data, shares[key], seed=1 if key[0] == "bgr" else 2)]

    found = inspect_model(FakeModel(raw), data)
    assert found.reason == "permutation"
    assert found.permutation is not None
    lost = found.permutation.runner_up_loss
    assert lost is not None
    assert lost.low is not None
    assert {found.permutation.contract, found.permutation.runner_up} == {"BGR, 0..255", "RGB, 0..255"}
    assert (lost.low > 0) == known
    assert lost.value == pytest.approx(0.95 - second, abs=0.02)
    assert ("so the two are not distinguished" in found.sentence) == (not known)
    assert f"{found.permutation.runner_up} with permuted classes" in found.sentence


def test_a_proposal_names_the_classes_that_have_few_images() -> None:
    data = photos(6000)
    data = data.take(np.flatnonzero((data.labels != 4) | (np.arange(6000) < 50)))
    few = int((data.labels == 4).sum())
    found = inspect_model(model_with(photos(6000), {("rgb", (0, 1)): 0.95}), data)
    assert found.status == "proposed"
    assert any(f"class 4 ({few} image" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.41234, "41.2"),
        (0.99981, "over 99.9"),
        (0.0002, "under 0.1"),
        (1.0, "100.0"),
        (0.0, "0.0"),
        (-0.0123, "\u22121.2"),
    ],
)
def test_a_percentage_in_a_finding_has_one_decimal(value: float, text: str) -> None:
    assert words.percent(value) == f"{text}\u202f%"


def test_another_number_of_classes_is_told_before_the_model_is_asked() -> None:
    def never(contract: InputSettings) -> np.ndarray:
        raise AssertionError("asked")

    found = inspect_model(FakeModel(never, outputs=58), photos(100))
    assert (found.status, found.reason, found.tried) == ("cannot_tell", "classes", ())
    assert "58 outputs" in found.sentence
    assert "43 classes" in found.sentence


def test_classes_sorted_as_text_are_recognised() -> None:
    data = photos()
    order = text_sorted(K)
    output_of = np.argsort(order)
    shares = {("rgb", (0, 1)): 0.95}
    plain = model_with(data, shares)
    found = inspect_model(FakeModel(lambda contract: output_of[plain.raw(contract)]), data)
    assert found.status == "proposed"
    assert found.winner.settings.class_order == order
    assert found.winner.settings.range == (0, 1)


def test_the_order_of_folders_listed_as_text() -> None:
    assert text_sorted(12) == (0, 1, 10, 11, 2, 3, 4, 5, 6, 7, 8, 9)
    assert text_sorted(10) == tuple(range(10))
    assert sorted(text_sorted(43)) == list(range(43))


def test_a_winner_that_needs_more_images_gets_them() -> None:
    data = photos(6000)
    found = inspect_model(model_with(data, {("bgr", (0, 1)): 0.966, ("bgr", (0, 255)): 0.96}), data)
    assert found.status == "proposed"
    assert found.winner.name == "BGR, 0..1"
    assert found.runner_up.name == "BGR, 0..255"
    assert len(found.rounds) > 1
    assert found.winner.accuracy.n == found.rounds[-1] > 400
    assert found.runner_up.drop.low > 0
    fallen_early = [entry.accuracy.n for entry in found.tried[2:]]
    assert set(fallen_early) == {400}


def test_a_weak_winner_carries_a_warning_and_is_measured_on_all_images() -> None:
    data = photos(3000)
    found = inspect_model(model_with(data, {("rgb", (0, 255)): 0.3}), data)
    assert found.status == "proposed"
    assert found.rounds[-1] == 3000
    assert len(found.warnings) == 1
    assert "may need a contract" in found.warnings[0]


def test_two_exchanged_classes_are_a_warning() -> None:
    data = photos(3000)
    swap = np.arange(K)
    swap[[3, 5]] = 5, 3
    plain = model_with(data, {("rgb", (0, 1)): 0.98})
    found = inspect_model(FakeModel(lambda contract: swap[plain.raw(contract)]), data, images=3000)
    assert found.status == "proposed"
    assert any("another class for 2 outputs (3 as 5, 5 as 3)" in warning for warning in found.warnings)


def test_contracts_that_the_model_refuses_are_left_out_and_said() -> None:
    data = photos(1000)
    plain = model_with(data, {("rgb", (0, 1)): 0.95})

    def raw(contract: InputSettings) -> np.ndarray:
        if contract.range == (0, 255):
            raise InputRefused("model.keras: its arithmetic overflows.")
        return plain.raw(contract)

    found = inspect_model(FakeModel(raw), data)
    assert found.winner.name == "RGB, 0..1"
    refused = [entry for entry in found.tried if entry.accuracy is None]
    assert {entry.settings.range for entry in refused} == {(0, 255)}
    assert all("overflows" in entry.reason for entry in refused)


def test_a_model_that_refuses_every_contract_is_refused() -> None:
    def raw(contract: InputSettings) -> np.ndarray:
        raise InputRefused("model.keras: gives other outputs each time.")

    with pytest.raises(InputRefused, match="each time"):
        inspect_model(FakeModel(raw), photos(100))


def test_a_contract_that_is_as_good_as_the_best_seldom_falls_out() -> None:
    """14 feeds of one accuracy, with independent mistakes: each is truly best, and falls out in at most 5 % of trials."""
    data = photos(1000, classes=8)
    fallen = total = 0
    for trial in range(20):

        def raw(contract: InputSettings, trial: int = trial) -> np.ndarray:
            return right_at(data, 0.8, seed=[trial, *repr(contract).encode()])  # type: ignore[arg-type]

        found = inspect_model(FakeModel(raw, outputs=8), data, seed=trial)
        assert found.reason == "same"
        fallen += sum(not entry.kept for entry in found.tried)
        total += len(found.tried)
    assert total == 280
    assert fallen <= 0.05 * total


@settings(max_examples=20, deadline=None)
@given(
    order=st.permutations(range(28)),
    shares=st.lists(st.sampled_from([0.05, 0.5, 0.9]), min_size=14, max_size=14),
)
def test_the_order_of_the_candidates_changes_nothing(order: list[int], shares: list[float]) -> None:
    data = photos(600)
    among = candidates((16, 16, 3), (16, 16, 3), K)
    by_feed = dict(zip(dict.fromkeys(entry.feed for entry in among), shares, strict=True))
    share_of = {
        repr(entry.settings): by_feed[entry.feed] for entry in among if entry.settings.class_order is None
    }
    model = FakeModel(lambda contract: right_at(data, share_of[repr(contract)]))
    first = inspect_model(model, data, among=among)
    assert inspect_model(model, data, among=[among[place] for place in order]) == first


@pytest.mark.parametrize(
    ("depth", "image_channels", "channels", "count"),
    [
        (3, 3, {"rgb", "bgr"}, 28),
        (1, 3, {"grey"}, 10),
        (None, 3, {"rgb", "bgr", "grey"}, 38),
        (3, 1, {"rgb"}, 14),
    ],
)
def test_candidates_fit_the_depth(
    depth: int | None, image_channels: int, channels: set[str], count: int
) -> None:
    found = candidates((16, 16, depth), (16, 16, image_channels), K)
    assert {entry.settings.channels for entry in found} == channels
    assert len(found) == len({entry.name for entry in found}) == count
    assert all(entry.settings.height is None for entry in found)


def test_an_open_size_takes_that_of_the_images_and_says_so() -> None:
    assert {
        (entry.settings.height, entry.settings.width) for entry in candidates((None, None, 3), (20, 24, 3), 3)
    } == {(20, 24)}
    data = photos(500)
    model = model_with(data, {("rgb", (0, 1)): 0.95}, input_shape=(None, None, 3))
    assert any("accepts any input size" in note for note in inspect_model(model, data).notes)


def test_means_stand_in_the_models_own_channel_order() -> None:
    means = {entry.feed: entry.settings.mean for entry in candidates((8, 8, 3), (8, 8, 3), 2)}
    assert means["BGR, 0..255 minus the ImageNet means"] == (
        103.939,
        116.779,
        123.68,
    )  # as keras.applications has it
    assert means["RGB, ImageNet mean and std"] == (0.485, 0.456, 0.406)  # as torchvision has it
    assert means["BGR, ImageNet mean and std"] == (0.406, 0.456, 0.485)


def test_rounds_grow_and_end_with_all_images() -> None:
    assert round_sizes(6315, 400) == [400, 1600, 6315]
    assert round_sizes(1600, 400) == [400, 1600]
    assert round_sizes(300, 400) == [300]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_best_assignment_is_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    raw, labels = rng.integers(-1, 5, 60), rng.integers(0, 5, 60)
    order, support = best_assignment(raw, labels, 5)
    best = max(int((named(raw, p) == labels).sum()) for p in itertools.permutations(range(5)))
    assert sorted(order) == list(range(5))
    assert int((named(raw, tuple(order)) == labels).sum()) == best == support.sum()


def test_halves_part_all_images_and_no_sign() -> None:
    data = photos(900, tracks=np.arange(900) // 9)
    fit, check = halves(data, 3)
    assert sorted([*fit, *check]) == list(range(900))
    assert not set(data.tracks[fit]) & set(data.tracks[check])
    assert len(fit) == 450


def test_a_part_keeps_fewer_frames_of_a_sign() -> None:
    data = photos(1001, frames_per_sign=11)
    assert part(data, np.arange(501)).frames_per_sign == pytest.approx(1 + 10 * 500 / 1000)
    assert part(data, np.arange(1)).frames_per_sign == 1


def test_an_answer_that_is_none_is_no_class() -> None:
    assert named(np.array([0, NO_ANSWER, 2]), (2, 0, 1)).tolist() == [2, NO_ANSWER, 1]


def test_what_is_proposed_is_what_the_settings_say(tmp_path: Path) -> None:
    for entry in candidates((None, None, None), (16, 16, 3), K):
        contract = entry.settings.model_copy(update={"chosen_on": "a" * 64})
        path = tmp_path / "safeml.toml"
        path.write_text(new_config("m.keras", "d.npz", None, contract=contract), encoding="utf-8")
        assert parse_config(read_toml(path), "here").model.input == contract


def test_every_outcome_is_a_page(tmp_path: Path) -> None:
    data = photos(1200)
    output_of = np.roll(np.arange(K), 1)
    models = {
        "": model_with(data, {("rgb", (0, 1)): 0.95}),
        "classes": FakeModel(lambda contract: data.labels, outputs=58),
        "chance": FakeModel(lambda contract: np.zeros(len(data), int)),
        "same": FakeModel(lambda contract: data.labels),
        "permutation": FakeModel(lambda contract: output_of[data.labels]),
    }
    for reason, model in models.items():
        found = inspect_model(model, data)
        assert found.reason == reason
        text = write_page(contract_run(found, data), tmp_path).read_text(encoding="utf-8")
        assert "Input contract" in text
        for entry in found.tried[:3]:
            assert entry.name in text
        tables = {figure.id for figure in stage_result(found).figures if isinstance(figure, Table)}
        assert tables == ({"contracts"} if found.tried else set()) | (
            {"permutation"} if reason == "permutation" else set()
        )
        assert stage_result(found).findings[0].severity == (
            "info" if not reason else "serious" if reason in ("chance", "classes") else "warning"
        )


@dataclass(frozen=True, eq=False)
class FakeOpened:
    model: FakeModel

    def check_unchanged(self) -> None:
        """It never changes."""


def call(
    model: FakeModel, data: ImageDataset, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> Result:
    app = typer.Typer(pretty_exceptions_enable=False)
    command.register(app)
    np.savez(folder / "d.npz", images=data.images, labels=data.labels, class_names=np.array(data.class_names))
    (folder / "m.keras").touch()
    monkeypatch.setattr("safeml.classifiers.load.load_model", lambda path: FakeOpened(model))
    monkeypatch.chdir(folder)
    return CliRunner().invoke(app, ["m.keras", "--data", "d.npz", *arguments])


def test_the_command_writes_settings_that_can_be_audited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(800)
    model = model_with(data, {("bgr", (0, 255)): 0.95})
    (tmp_path / "sub").mkdir()
    done = call(
        model,
        data,
        tmp_path,
        monkeypatch,
        "--out",
        "sub/safeml.toml",
        "--frames-per-sign",
        "2",
        "--report",
        "pages",
    )
    assert done.exit_code == 0, done.output
    assert "input contract is BGR, 0..255" in done.stdout
    assert "Not tried: histogram equalisation" in done.stdout
    config = parse_config(read_toml(tmp_path / "sub" / "safeml.toml"), "here")
    assert (config.model.input.channels, config.model.input.range) == ("bgr", (0, 255))
    contract = config.model.input
    assert contract.chosen_on == contract_key(contract, data.pixels_fingerprint, model.fingerprint)
    assert (config.model.path, config.data.test.path) == ("../m.keras", "../d.npz")
    assert config.data.test.frames_per_sign == 2
    assert (tmp_path / "pages" / "contract.html").is_file()
    again = call(model, data, tmp_path, monkeypatch, "--out", "sub/safeml.toml")
    assert "exists already" in str(again.exception)
    assert call(model, data, tmp_path, monkeypatch, "--out", "sub/safeml.toml", "--force").exit_code == 0


def test_json_is_all_that_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(800)
    done = call(model_with(data, {("rgb", (0, 1)): 0.95}), data, tmp_path, monkeypatch, "--json")
    assert done.exit_code == 0
    found = Outcome.model_validate(json.loads(done.stdout))
    assert found.winner is not None
    assert found.winner.name == "RGB, 0..1"
    assert len(found.tried) == 28
    assert (tmp_path / "safeml.toml").is_file()


def test_doubt_leaves_with_3_and_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = photos(500)
    done = call(FakeModel(lambda contract: data.labels), data, tmp_path, monkeypatch)
    assert done.exit_code == 3
    assert "same predictions" in done.stdout
    assert not (tmp_path / "safeml.toml").exists()


def test_another_number_of_classes_is_refused_with_both_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(200)
    done = call(FakeModel(lambda contract: data.labels, outputs=58), data, tmp_path, monkeypatch, "--json")
    assert isinstance(done.exception, InputRefused)
    assert "58 outputs" in str(done.exception)
    assert "43 classes" in str(done.exception)
    assert json.loads(done.stdout)["reason"] == "classes"
    assert not (tmp_path / "safeml.toml").exists()
