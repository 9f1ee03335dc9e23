"""Pruning before quantization: which weights become 0, that they stay 0 to the exported file, and what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from safeml.config.quantization import PruneSettings, QuantizeSettings
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.framework import start
from safeml.quantization.inputs import QuantizationInputs
from safeml.store.files import file_sha256
from tests.integration.test_training_fit import TRAIN, VALID, Interrupted, stop_after

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module", autouse=True)
def _keras() -> None:
    start()


def settings(**changes: Any) -> QuantizeSettings:
    values = {
        "name": "stripes-int8",
        "model": {"path": "stripes.keras"},
        "epochs": 1,
        "batch": 32,
        "learning_rate": 0.005,
        "weight_average": 0.9,
        "monitor": "val_loss",
        "worst_layers": 0,
        "calibration": {"images": 32},
        "prune": {"kind": "2:4", "epochs": 3, "interval": 1},
        "data": {
            "train": {"kind": "rendered", "images": 90, "seed": 1},
            "valid": {"kind": "rendered", "images": 30, "seed": 2},
        },
    }
    return QuantizeSettings.model_validate({**values, **changes})


def network() -> Any:
    """A stem of three input channels, a convolution that can be pruned, and logits."""
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="stem")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="middle")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(3, name="logits")(x))


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> QuantizationInputs:
    folder = tmp_path_factory.mktemp("source")
    file = folder / "stripes.keras"
    model = network()
    kernel = np.asarray(model.get_layer("logits").kernel) * 0
    kernel[:3] = np.eye(3)  # better than chance is required; the stem and the middle pass the colours on
    model.get_layer("logits").kernel.assign(kernel)
    stem = np.zeros((3, 3, 3, 8))
    stem[1, 1, range(3), range(3)] = 4
    model.get_layer("stem").kernel.assign(stem + RNG.normal(0, 0.02, stem.shape))
    middle = np.zeros((3, 3, 8, 8))
    middle[1, 1, range(3), range(3)] = 4
    model.get_layer("middle").kernel.assign(middle + RNG.normal(0, 0.02, middle.shape))
    model.save(file)
    return QuantizationInputs(settings(), folder, file, file_sha256(file), TRAIN, VALID)


@pytest.fixture(scope="module")
def folder(inputs: QuantizationInputs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole quantization with pruning."""
    from safeml.quantization.build import quantize

    return quantize(inputs, tmp_path_factory.mktemp("pruned"))


def test_two_of_four_are_the_smallest_of_each_group_along_the_inputs() -> None:
    from safeml.quantization.sparsity import violations, zeros_2_of_4

    matrix = RNG.normal(size=(3, 8, 5))
    pruned = zeros_2_of_4(matrix, 1.0)
    for position in range(3):
        for output in range(5):
            for group in range(2):
                rows = slice(4 * group, 4 * group + 4)
                smallest = set(np.argsort(np.abs(matrix[position, rows, output]))[:2].tolist())
                assert set(np.flatnonzero(pruned[position, rows, output]).tolist()) == smallest
    sparse = np.where(pruned, 0, matrix)
    assert violations(sparse) == 0
    sparse[1, 5, 2] = sparse[1, 4, 2] = sparse[1, 6, 2] = 1
    assert violations(sparse) == 1
    # The same pattern along the outputs is none along the inputs.
    across = np.where(zeros_2_of_4(RNG.normal(size=(3, 8, 8)).swapaxes(1, 2), 1.0).swapaxes(1, 2), 0, 1)
    assert violations(across) > 0
    half = zeros_2_of_4(matrix, 0.5)
    assert half.sum() == pruned.sum() / 2
    assert not np.any(half & ~pruned)


def test_pruned_weights_stay_pruned_as_the_sparsity_rises() -> None:
    from safeml.quantization.sparsity import zeros

    for kind in ("magnitude", "2:4"):
        asked = PruneSettings(kind=kind, sparsity=0.5)  # type: ignore[arg-type]
        matrix, before = RNG.normal(size=(2, 8, 6)), np.zeros((2, 8, 6), bool)
        for share in (0.2, 0.6, 0.9, 1.0):
            pruned = zeros(matrix, asked, share)
            assert pruned.sum() == (round(0.5 * share * 96) if kind == "magnitude" else 2 * round(share * 24))
            assert not np.any(before & ~pruned)
            if kind == "magnitude":
                assert np.abs(matrix[pruned & ~before]).max() <= np.abs(matrix[~pruned]).min()
            matrix, before = np.where(pruned, 0, matrix + RNG.normal(0, 0.3, matrix.shape)), pruned


def test_only_an_epoch_of_full_sparsity_may_be_selected() -> None:
    from safeml.quantization.pruning import first_full_epoch, schedule

    for epochs in (1, 3):
        for begin, end in ((0.0, 0.01), (0.0, 0.5), (0.3, 0.67), (0.5, 1.0)):
            for steps in (1, 7):
                asked = PruneSettings(epochs=epochs, begin=begin, end=end, interval=3)
                plan = schedule(asked, epochs * steps)
                first = first_full_epoch(asked, steps)
                assert 0 <= plan.first < plan.last <= epochs * steps
                assert plan.due(plan.last)
                assert not plan.due(plan.first)
                assert first * steps < plan.last <= (first + 1) * steps
    for wrong, words in (
        ({"kind": "2:4", "sparsity": 0.7}, "always gives 0.5"),
        ({"begin": 0.5, "end": 0.5}, "begin before end"),
        ({"keep_dense": ["a", "a"]}, "twice"),
    ):
        with pytest.raises(ValueError, match=words):
            PruneSettings.model_validate(wrong)


def test_every_kernel_is_seen_as_inputs_by_outputs_and_what_is_left_dense_has_its_reason() -> None:
    import keras

    from safeml.quantization.sparsity import choices, depthwise_layers, slots

    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(6, 3, name="stem")(image)
    x = keras.layers.Conv2D(8, 1, name="six")(keras.layers.DepthwiseConv2D(3, name="depthwise")(x))
    x = keras.layers.Conv2D(8, 1, groups=2, name="grouped")(x)
    x = keras.layers.Conv2DTranspose(12, 2, name="transposed")(x)
    x = keras.layers.SeparableConv2D(16, 3, name="separable")(x)
    inner = keras.Sequential([keras.Input((3, 3, 16)), keras.layers.Conv2D(8, 1, name="nested")])
    x = keras.layers.Reshape((9, 8))(inner(x))
    x = keras.layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    logits = keras.layers.Dense(5, name="logits")(keras.layers.Flatten()(x))
    model = keras.Model(image, logits)
    sizes = {slot.name: slot.values().shape for slot in slots(model)}
    assert sizes == {
        "stem": (9, 3, 6),
        "six": (1, 6, 8),
        "grouped": (1, 4, 8),
        "transposed": (4, 8, 12),
        "separable": (1, 12, 16),
        "nested": (1, 16, 8),
        **{f"attention_{word}": (1, 8, 8) for word in ("query", "key", "value", "attention_output")},
        "logits": (1, 72, 5),
    }
    for slot in slots(model):
        np.testing.assert_array_equal(slot.shaped(slot.values()), slot.kernel.numpy())
    transposed = next(slot for slot in slots(model) if slot.name == "transposed")
    np.testing.assert_array_equal(transposed.values()[1, 2], transposed.kernel.numpy()[0, 1, :, 2])
    assert depthwise_layers(model) == [
        ("depthwise", "DepthwiseConv2D"),
        ("separable_depthwise", "SeparableConv2D"),
    ]
    dense = {
        choice.slot.name: choice.reason
        for choice in choices(model, PruneSettings(kind="2:4", keep_dense=("nested",)), "net.keras")
        if choice.reason
    }
    assert list(dense) == ["stem", "six", "transposed", "nested", "logits"]
    assert dense["stem"] == "its 3 input channels are no multiple of 4"
    assert "6 input channels" in dense["six"]
    assert "transposed convolutions" in dense["transposed"]
    assert dense["logits"] == "the last layer gives the logits"
    with_ends = choices(model, PruneSettings(ends=True), "net.keras")
    assert not any(choice.reason for choice in with_ends)
    with pytest.raises(ConfigError, match='has no layer "nestd" to prune; did you mean "nested"'):
        choices(model, PruneSettings(keep_dense=("nestd",)), "net.keras")
    only = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, name="first")])
    with pytest.raises(ConfigError, match=r"no layer can be pruned \(first: its 3 input channels"):
        choices(only, PruneSettings(kind="2:4"), "net.keras")


def test_a_mask_holds_against_the_optimizer_and_beside_a_constraint_of_the_layer() -> None:
    import keras

    from safeml.quantization.pruning import pruning_callback

    layer = keras.layers.Dense(4, kernel_constraint="non_neg", name="middle")
    model = keras.Sequential([keras.Input((8,)), layer])
    own = layer.kernel.constraint
    layer.kernel.assign(np.arange(1, 33).reshape(8, 4) / 32)
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x = np.ones((16, 8), np.float32)
    seen = []

    def after_step(batch: int, logs: object) -> None:
        kernel = layer.kernel.numpy()
        seen.append((int((kernel == 0).sum()), float(kernel.min())))

    asked = PruneSettings(ends=True, sparsity=0.25, epochs=1, end=0.5, interval=1)
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=after_step)
    # Every gradient pulls every weight up, also the pruned ones.
    model.fit(
        x, 50 * x[:, :4], batch_size=4, verbose=0, callbacks=[pruning_callback(asked, 4, "net.keras"), watch]
    )
    assert [zeros for zeros, _ in seen] == [7, 8, 8, 8]  # 0.875 and all of 8 weights
    assert all(least >= 0 for _, least in seen)
    assert layer.kernel.constraint is own


def test_an_interrupted_pruning_ends_with_the_same_weights(
    inputs: QuantizationInputs, folder: Path, tmp_path: Path
) -> None:
    import keras

    from safeml.quantization.finetune import finetuned
    from safeml.training.feed import PLAIN

    with pytest.raises(Interrupted):
        finetuned(inputs, inputs.source, tmp_path, "pruned", PLAIN, stop_after(2))
    fitted, model = finetuned(inputs, inputs.source, tmp_path, "pruned", PLAIN, lambda epoch: None)
    assert fitted.resumed_after == 2
    assert fitted.epochs == json.loads((folder / "quantization.json").read_text())["fits"]["pruned"]["epochs"]
    uninterrupted = keras.models.load_model(folder / "pruned.keras", compile=False)
    for first, second in zip(uninterrupted.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_zeros_stay_zeros_in_every_model_and_in_the_exported_file(folder: Path, tmp_path: Path) -> None:
    import keras

    from safeml.export.onnx import export_onnx
    from safeml.export.sparsity import check
    from safeml.quantization.sparsity import slots, violations

    pruned = None
    for name in ("pruned", "finetuned", "ptq", "qat", "int8"):
        model = keras.models.load_model(folder / f"{name}.keras", compile=False)
        by_name = {slot.name: slot.values() for slot in slots(model)}
        assert violations(by_name["middle"]) == 0, name
        assert np.all(by_name["stem"] != 0), name
        empty = by_name["middle"] == 0
        assert empty.sum() == 9 * 8 * 8 / 2, name
        pruned = empty if pruned is None else pruned
        np.testing.assert_array_equal(empty, pruned)
    exported = export_onnx(model, tmp_path / "model.onnx").model
    passed = check(exported, ("middle",))
    assert (passed.status, passed.facts["groups"]) == ("passed", 9 * 8 * 2)
    dense = export_onnx(
        keras.models.load_model(folder / "float.keras", compile=False), tmp_path / "float.onnx"
    ).model
    broken = check(dense, ("middle",))
    assert broken.status == "failed"
    assert "more than two weights that are not 0" in broken.reason
    assert check(exported, ("elsewhere",)).status == "not_run"
    assert check(exported, ()).status == "not_run"


def _classifier(file: Path) -> Any:
    import keras

    from safeml.classifiers.keras import wrap
    from safeml.settings.model import InputSettings

    return wrap(keras.models.load_model(file, compile=False), InputSettings(), VALID.class_names, file.name)


def test_the_record_and_its_page_say_what_pruning_changed(folder: Path, inputs: QuantizationInputs) -> None:
    import keras

    from safeml.audits.base import AuditInputs
    from safeml.audits.quantization.pruning import pruning_findings, pruning_sentences, pruning_tables
    from safeml.audits.quantization.record import read_quantized
    from safeml.audits.quantization.run import run
    from safeml.export.material import _sparse_layers
    from safeml.quantization.build import is_done
    from safeml.quantization.pruning import deltas, layer_rows
    from safeml.stages.quantization import QuantizationSettings

    record = json.loads((folder / "quantization.json").read_text())
    part = record["pruning"]
    rows = {row["name"]: row for row in part["layers"]}
    assert (rows["middle"]["weights"], rows["middle"]["zeros"]) == (576, 288)
    assert rows["middle"]["int8_zeros"] >= 288
    assert (rows["middle"]["violations"], rows["middle"]["int8_violations"]) == (0, 0)
    assert rows["stem"]["reason"] == "its 3 input channels are no multiple of 4"
    assert _sparse_layers(record) == ("middle",)
    epochs = record["fits"]["pruned"]["epochs"]
    assert epochs[0]["file"] == ""
    assert any(epoch["file"] for epoch in epochs[1:])
    assert is_done(inputs, folder)
    for name, row in part["models"].items():
        model = keras.models.load_model(folder / f"{name}.keras", compile=False)
        decisions = model.predict(VALID.images.astype(np.float32) / 255, verbose=0).argmax(1)
        assert row["val_accuracy"] == np.mean(decisions == VALID.labels)
        recalls = [float(np.mean(decisions[VALID.labels == k] == k)) for k in range(3)]
        assert row["worst_class"]["recall"] == min(recalls)
    checked = read_quantized(record)
    assert checked.pruning is not None
    assert set(checked.accuracy) == {"float", "pruned", "ptq", "qat", "finetuned"}
    assert "1 layer of 3 with a kernel are pruned (2:4)" in pruning_sentences(checked.pruning)[0]
    tables = pruning_tables(checked.pruning, checked.images)
    assert [row[0] for row in tables[0].rows] == ["float, before pruning", "float, pruned", "INT8, pruned"]
    assert {row[0]: row[3] for row in tables[1].rows}["middle"] == 0.5
    assert [finding.code for finding in pruning_findings(checked.pruning)][-1] == "layers-not-pruned"
    page = {
        name: run(
            AuditInputs(_classifier(folder / f"{name}.keras"), VALID, TRAIN, VALID, 7, quantization=record),
            QuantizationSettings(),
        )
        for name in ("int8", "pruned")
    }
    assert {"pruning-models", "pruning-layers"} <= {figure.id for figure in page["int8"].figures}
    assert (page["pruned"].status, page["pruned"].reason) == (
        "skipped",
        "the model under test is the pruned model of this quantization, which is not quantized",
    )
    # A record with a broken pattern and a class that is lost says so, and one of another form is refused.
    rows["middle"]["int8_violations"] = 2
    part["models"]["int8"]["largest_fall"] |= {"before": 0.9, "after": 0.8}
    broken = read_quantized(record).pruning
    assert broken is not None
    codes = {finding.code: finding.severity for finding in pruning_findings(broken)}
    assert codes["pattern-broken"] == "serious"
    assert codes["pruning-lowers-a-class"] == "warning"
    part["layers"][0]["zeros"] = "many"
    with pytest.raises(InputRefused, match=r"quantization\.json: pruning\.layers\.0\.zeros"):
        read_quantized(record)
    # A model that has not the zeros of its settings is never recorded as pruned.
    dense = keras.models.load_model(folder / "float.keras", compile=False)
    with pytest.raises(StageError, match="middle has 0 zeros in 576 weights"):
        layer_rows(dense, dense, PruneSettings(kind="2:4"), "net.keras")
    data = SimpleNamespace(labels=np.array([0, 0, 1]), classes=2, class_names=("a", "b"))
    changed = deltas({"float": np.array([0, 1, 1]), "int8": np.array([1, 0, 1])}, data)  # type: ignore[arg-type]
    assert (changed["int8"]["lost"], changed["int8"]["gained"]) == (1, 1)
    assert changed["int8"]["largest_fall"] == {"name": "a", "before": 0.5, "after": 0.5, "images": 2}
    assert changed["float"]["worst_class"] == {"name": "a", "recall": 0.5, "images": 2}
