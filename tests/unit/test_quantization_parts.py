"""What a quantization trains, and what of an earlier one it removes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

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
