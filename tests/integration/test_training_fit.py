"""Training that can be interrupted at any moment, and what it does when something goes wrong."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.config.recipe import Recipe
from safeml.data.dataset import ImageDataset
from safeml.errors import ConfigError, StageError

pytestmark = pytest.mark.slow


def stripes(count: int, seed: int) -> ImageDataset:
    """Three classes that are easy to tell apart: which colour is brightest."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    images = rng.integers(0, 120, (count, 16, 16, 3), dtype=np.uint8)
    images[np.arange(count), :, :, labels] += 90
    return ImageDataset(f"stripes {seed}", images, labels.astype(np.int64), ("red", "green", "blue"))


TRAIN, VALID = stripes(90, 1), stripes(30, 2)


def recipe(**changes: Any) -> Recipe:
    values = {
        "name": "stripes",
        "architecture": "lenet",
        "width": 8,
        "epochs": 4,
        "batch": 32,
        "dropout": 0.3,
        "weight_average": 0.9,
        "learning_rate": 0.01,
        "data": {
            "train": {"kind": "rendered", "images": 90, "seed": 1},
            "valid": {"kind": "rendered", "images": 30, "seed": 2},
        },
    }
    return Recipe.model_validate({**values, **changes})


def normalised(
    height: int, width: int, classes: int, *, base: int, dropout: float, bn_momentum: float
) -> Any:
    """Build the smallest network with moving statistics and dropout."""
    import keras

    from safeml.training.architectures.parts import conv_bn, image_input, pooled_logits

    inputs = image_input(height, width)
    return keras.Model(
        inputs, pooled_logits(conv_bn(inputs, base, 3, 2, bn_momentum, "stem", "relu"), classes, dropout)
    )


@pytest.fixture(scope="module", autouse=True)
def _smallest_resnet() -> Iterator[None]:
    """Replace ResNet-18: what is compiled for each training is smaller than for any network of the registry."""
    from safeml.training.architectures import registry

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(registry.ARCHITECTURES, "resnet18", normalised)
        yield


def smallest(**changes: Any) -> Recipe:
    """As `recipe`, for tests that need a training and not that it learns much."""
    return recipe(**{"architecture": "resnet18", "width": 4, **changes})


class Interrupted(Exception):
    pass


def stop_after(epoch: int) -> Any:
    def on_epoch(entry: dict[str, Any]) -> None:
        if entry["epoch"] == epoch:
            raise Interrupted

    return on_epoch


def weights(folder: Path) -> list[np.ndarray]:
    from safeml.training import state

    found = state.load(folder)
    assert found is not None
    return found.variables


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[np.ndarray]]:
    """An uninterrupted training: its history and its last variables."""
    from safeml.training.fit import fit

    folder = tmp_path_factory.mktemp("whole")
    return fit(smallest(), TRAIN, VALID, folder).epochs, weights(folder)


def test_a_training_that_is_interrupted_twice_ends_with_the_same_weights(
    whole: tuple[Any, list[np.ndarray]], interrupted: Path, tmp_path: Path
) -> None:
    from safeml.training.fit import fit

    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    with pytest.raises(Interrupted):
        fit(smallest(), TRAIN, VALID, tmp_path, stop_after(3))
    (tmp_path / "checkpoints" / "04-0.9999.keras").write_bytes(b"half a checkpoint")
    resumed = fit(smallest(), TRAIN, VALID, tmp_path)
    assert resumed.resumed_after == 3
    assert resumed.epochs == whole[0]
    for again, once in zip(weights(tmp_path), whole[1], strict=True):
        np.testing.assert_array_equal(again, once)
    written = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert written == {entry["file"] for entry in whole[0]} - {""}


def test_moving_statistics_and_seeds_of_dropout_are_resumed_too(tmp_path: Path) -> None:
    from safeml.training.fit import fit

    asked = smallest(epochs=2, balance="sampling", optimizer="sgd")
    (tmp_path / "once").mkdir()
    once = fit(asked, TRAIN, VALID, tmp_path / "once").epochs
    (tmp_path / "again").mkdir()
    with pytest.raises(Interrupted):
        fit(asked, TRAIN, VALID, tmp_path / "again", stop_after(1))
    assert fit(asked, TRAIN, VALID, tmp_path / "again").epochs == once
    kept = weights(tmp_path / "once")
    assert any(variable.shape == (4,) and variable.std() > 0 for variable in kept)
    for a, b in zip(kept, weights(tmp_path / "again"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_averaged_weights_are_what_is_validated_and_saved(tmp_path: Path) -> None:
    import keras

    from safeml.training.fit import fit

    epochs = fit(smallest(save_best_only=False), TRAIN, VALID, tmp_path).epochs
    model = keras.models.load_model(tmp_path / "checkpoints" / epochs[-1]["file"])
    loss, accuracy = model.evaluate(
        VALID.images.astype(np.float32) / 255, np.eye(3, dtype=np.float32)[VALID.labels], verbose=0
    )
    assert accuracy == pytest.approx(epochs[-1]["val_accuracy"], abs=1e-6)
    assert loss == pytest.approx(epochs[-1]["val_loss"], abs=1e-4)
    raw = weights(tmp_path)[: len(model.variables)]
    saved = [variable.numpy() for variable in model.variables]
    same = [np.array_equal(a, b) for a, b in zip(raw, saved, strict=False) if a.shape == b.shape]
    assert not all(same)  # training goes on with the weights themselves


def test_it_learns_and_the_log_holds_what_the_history_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps of training and of validation are traced once each."""
    import keras
    import tensorflow as tf

    from safeml.training.fit import fit

    traced, loss = [], keras.losses.CategoricalCrossentropy.call

    def counted(self: Any, *arguments: Any) -> Any:
        traced.append(1)
        return loss(self, *arguments)

    monkeypatch.setattr(keras.losses.CategoricalCrossentropy, "call", counted)
    epochs = fit(recipe(weight_average=0.0, epochs=6), TRAIN, VALID, tmp_path).epochs
    assert len(traced) == 2
    assert max(entry["val_accuracy"] for entry in epochs) > 0.9
    found: dict[tuple[int, str], float] = {}
    (file,) = (tmp_path / "logs").iterdir()
    for record in tf.data.TFRecordDataset(str(file)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            found[event.step, value.tag] = value.simple_value
    for entry in epochs:
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert found[entry["epoch"], f"epoch/{name}"] == pytest.approx(entry[name], rel=1e-6)


def test_early_stopping_counts_the_same_when_resumed(tmp_path: Path) -> None:
    from safeml.training.fit import fit

    asked = recipe(early_stopping=2, epochs=30, monitor="val_loss", learning_rate=0.05)
    (tmp_path / "once").mkdir()
    once = fit(asked, TRAIN, VALID, tmp_path / "once").epochs
    best = min(once, key=lambda entry: entry["val_loss"])["epoch"]
    assert len(once) < 30
    assert len(once) == best + 2
    (tmp_path / "again").mkdir()
    with pytest.raises(Interrupted):
        fit(asked, TRAIN, VALID, tmp_path / "again", stop_after(len(once) - 1))
    assert fit(asked, TRAIN, VALID, tmp_path / "again").epochs == once
    assert fit(asked, TRAIN, VALID, tmp_path / "again").epochs == once  # and a finished one stays finished


def test_a_loss_that_is_no_number_ends_training_with_a_sentence_and_leaves_nothing(tmp_path: Path) -> None:

    with pytest.raises(StageError, match=r"is not finite in epoch 1; reduce learning_rate \(1\)"):
        _diverge(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _diverge(folder: Path) -> None:
    from safeml.training import fit as module

    broken = recipe(learning_rate=1.0, weight_average=0.0, optimizer="sgd", schedule="constant")
    real = module.optimizer

    def exploding(asked: Recipe, rate: float, steps: int) -> Any:
        return real(asked, 1e30, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "optimizer", exploding)
        module.fit(broken, TRAIN, VALID, folder)


def test_the_unfinished_training_of_another_recipe_is_not_touched(interrupted: Path, tmp_path: Path) -> None:
    from safeml.training.fit import fit

    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="another recipe, other images or other library versions"):
        fit(smallest(learning_rate=0.02), TRAIN, VALID, tmp_path)
    with pytest.raises(ConfigError, match="another recipe, other images"):
        fit(smallest(), stripes(90, 5), VALID, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_checkpoints_of_somebody_else_are_not_touched(tmp_path: Path) -> None:
    from safeml.training.fit import fit

    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "thesis.keras").write_bytes(b"years of work")
    with pytest.raises(ConfigError, match="belong to no training of stripes"):
        fit(smallest(), TRAIN, VALID, tmp_path)
    assert (tmp_path / "checkpoints" / "thesis.keras").read_bytes() == b"years of work"


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that ended after its second epoch; copy it."""
    from safeml.training.fit import fit

    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(Interrupted):
        fit(smallest(), TRAIN, VALID, folder, stop_after(2))
    return folder


def test_the_state_of_another_model_is_not_used_and_training_begins_anew(
    whole: tuple[Any, list[np.ndarray]], interrupted: Path, tmp_path: Path
) -> None:
    from safeml.training import state
    from safeml.training.fit import fit

    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    found = state.load(tmp_path)
    assert found is not None
    state.save(tmp_path, state.State(found.key, found.history, found.variables[:-1]))
    again = fit(smallest(), TRAIN, VALID, tmp_path)
    assert again.resumed_after == 0
    assert "could not be used" in again.note
    assert again.epochs == whole[0]


def test_a_pickled_state_is_not_read_and_training_begins_anew(
    interrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safeml.training import fit as module
    from safeml.training import state

    shutil.copytree(interrupted, tmp_path, dirs_exist_ok=True)
    file = tmp_path / state.FILE
    np.save(file.with_suffix(".npy"), np.array([{}], object), allow_pickle=True)
    file.with_suffix(".npy").replace(file)
    with pytest.raises(state.Damaged):
        state.load(tmp_path)
    begun: list[Any] = []

    def run(self: Any, earlier: Any) -> Any:
        begun.append(earlier)
        return module.Fit([], 0)

    monkeypatch.setattr(module._Training, "run", run)
    assert "could not be used" in module.fit(smallest(), TRAIN, VALID, tmp_path).note
    assert begun == [None]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_state_or_one_with_another_bit_is_damaged(part: float, tmp_path: Path) -> None:
    from safeml.training import state

    kept = state.State("key", [{"epoch": 1, "val_loss": 0.5}], [np.arange(1000.0)])
    state.save(tmp_path, kept)
    found = state.load(tmp_path)
    assert found is not None
    assert (found.key, found.history) == (kept.key, kept.history)
    np.testing.assert_array_equal(found.variables[0], kept.variables[0])
    raw = (tmp_path / state.FILE).read_bytes()
    (tmp_path / state.FILE).write_bytes(raw[: int(part * len(raw))])
    with pytest.raises(state.Damaged):
        state.load(tmp_path)
    flipped = bytearray(raw)
    flipped[min(int(part * len(raw)), len(raw) - 1)] ^= 1
    (tmp_path / state.FILE).write_bytes(flipped)
    with pytest.raises(state.Damaged):
        state.load(tmp_path)


def test_a_full_disk_in_the_middle_of_a_checkpoint(
    whole: tuple[Any, list[np.ndarray]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from safeml.training.fit import fit

    real = keras.callbacks.ModelCheckpoint._save_model

    def full(self: Any, epoch: int, batch: Any, logs: Any) -> None:
        if epoch == 1:
            Path(str(self.filepath).format(epoch=epoch + 1, **logs)).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(self, epoch, batch, logs)

    monkeypatch.setattr(keras.callbacks.ModelCheckpoint, "_save_model", full)
    with pytest.raises(
        StageError,
        match=r"epoch 2 cannot be written \(No space left on device\); the training up to epoch 1 is stored",
    ):
        fit(smallest(save_best_only=False), TRAIN, VALID, tmp_path)
    assert [path.name[:2] for path in (tmp_path / "checkpoints").iterdir()] == ["01"]
    monkeypatch.undo()
    resumed = fit(smallest(save_best_only=False), TRAIN, VALID, tmp_path)
    assert resumed.resumed_after == 1
    assert [entry["val_loss"] for entry in resumed.epochs] == [entry["val_loss"] for entry in whole[0]]


def test_out_of_memory_names_a_batch_that_may_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import keras
    import tensorflow as tf

    from safeml.training.fit import fit

    def exhausted(*arguments: Any, **options: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", exhausted)
    with pytest.raises(StageError, match=r"out of memory with batch = 32; .* such as batch = 16"):
        fit(smallest(), TRAIN, VALID, tmp_path)


def test_operations_are_deterministic_in_training_only(tmp_path: Path) -> None:
    from tensorflow.python.framework import config

    from safeml import framework

    assert not config.is_op_determinism_enabled()
    with framework.deterministic_operations():
        assert config.is_op_determinism_enabled()
    assert not config.is_op_determinism_enabled()


@pytest.mark.parametrize("schedule", ["cosine", "constant", "steps"])
@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_learning_rates_warm_up_to_the_asked_one(schedule: str, steps: int) -> None:
    from safeml.training.optimizers import schedule as made

    asked = sorted({*range(min(steps, 50)), *range(0, steps, 20), steps - 1})
    rates = [float(made(recipe(schedule=schedule), 0.01, steps)(step)) for step in asked]
    assert max(rates) <= 0.01 * (1 + 1e-6)
    assert min(rates) >= 0
    if steps == 1000:
        assert rates[0] < 0.001
        assert max(rates) == pytest.approx(0.01, rel=1e-3)
        assert rates[49] == pytest.approx(0.01, rel=0.06)  # a twentieth of the steps
        last = {"cosine": 0.0, "constant": 0.01, "steps": 0.0001}[schedule]
        assert rates[-1] == pytest.approx(last, abs=1e-6)
