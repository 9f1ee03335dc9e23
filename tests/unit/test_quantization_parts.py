"""What a quantization trains, and what of an earlier one it removes."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.small_signs import SETTINGS

pytestmark = pytest.mark.slow


def saved(path: Path, made: Callable[[Any], Any] = lambda model: model) -> Any:
    """Save a model whose batch normalization cannot be folded, because a ReLU and zero padding are beside it."""
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", trainable=False, name="frozen")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Conv2D(4, 3, padding="same", name="after")(x)
    model = made(keras.Model(image, layers.Dense(3, name="logits")(layers.Flatten()(x))))
    model.save(path)
    return model


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("kind", ["quantized", "float", "pruned"])
def test_all_layers_are_trained_but_a_batch_normalization_beside_int8(
    kind: Any, frozen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the float model that INT8 is compared with is trained less than the INT8 model."""
    from safeml.quantization import finetune
    from safeml.quantization.rewrite import prepare, with_quantizers

    def made(model: Any) -> Any:
        model.trainable = model.trainable and not (frozen and kind != "quantized")
        return with_quantizers(prepare(model, "model")) if kind == "quantized" else model

    class Stopped(Exception):
        pass

    built: list[Any] = []

    def fit(settings: Any, start: Any, *_: Any) -> Any:
        built.append(start.build()[0])
        raise Stopped

    saved(tmp_path / "model.keras", made)
    monkeypatch.setattr(finetune, "fit_model", fit)
    settings = SimpleNamespace(prune=None, epochs=1, freeze_epochs=0, learning_rate=0.1)
    inputs: Any = SimpleNamespace(
        settings=settings, training=None, choosing=None, source="m", source_sha256="s"
    )
    with pytest.raises(Stopped):
        finetune.finetuned(inputs, tmp_path / "model.keras", tmp_path, kind, None, lambda _: None)  # type: ignore[arg-type]
    trained = {layer.name: layer.trainable for layer in built[0].layers}
    assert trained.pop("norm") is (kind != "quantized")
    assert all(trained.values())


def test_a_result_with_a_model_that_was_replaced_is_not_done(tmp_path: Path) -> None:
    """finetuned.keras is the reference of an audit; a worse one would hide what INT8 lost."""
    from safeml.config.quantization import QuantizeSettings
    from safeml.quantization.build import is_done
    from safeml.store.files import file_sha256

    settings = QuantizeSettings.model_validate(tomllib.loads(SETTINGS))
    inputs: Any = SimpleNamespace(settings=settings, identity=lambda: {"source": "s"})
    names = {"int8": "int8.keras", "finetuned": "finetuned.keras"}
    for name in names.values():
        (tmp_path / name).write_text(name)
    files = {key: {"file": name, "sha256": file_sha256(tmp_path / name)} for key, name in names.items()}
    record = {"format": 1, "settings": settings.model_dump(mode="json"), "inputs": {"source": "s"}}

    def write(**changes: Any) -> None:
        (tmp_path / "quantization.json").write_text(json.dumps({**record, "files": files, **changes}))

    write()
    assert is_done(inputs, tmp_path)
    for broken in ({}, {"int8": 7}, None):
        write(files=broken)
        assert not is_done(inputs, tmp_path), broken
    write()
    (tmp_path / "finetuned.keras").write_text("another model")
    assert not is_done(inputs, tmp_path)


def test_force_removes_the_export_of_the_earlier_model(tmp_path: Path) -> None:
    """Else the INT8 file of the earlier model is audited with the record of the new one."""
    from safeml.quantization.build import _remove_result

    for name in (
        "int8.keras",
        "quantization.json",
        "export.json",
        "model.int8.onnx",
        "quantize.toml",
        "mine.onnx",
    ):
        (tmp_path / name).write_text("{}")
    _remove_result(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.onnx", "quantize.toml"]
