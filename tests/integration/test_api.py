"""One call from Python: a model in memory is audited as its file is, and attacks on arrays follow closed forms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import safeml
from safeml.errors import ConfigError, InputRefused, StageError
from safeml.results import Run
from tests import tiny

pytestmark = pytest.mark.slow

SIDE, K = 8, 3
QUIET = {name: {"enabled": False} for name in ("physical", "adversarial")}


def linear(seed: int = 0) -> Any:
    """A Keras model whose smallest L-inf change of a class has a closed form."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = [keras.Input((SIDE, SIDE, 1)), keras.layers.Flatten(), keras.layers.Dense(K)]
    model = keras.Sequential(layers, name="linear")
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(SIDE * SIDE, K))
    # Columns of mean 0: the common grey of the images decides nothing.
    model.layers[-1].set_weights([weights - weights.mean(axis=0), np.zeros(K)])
    return model


def greys(count: int, seed: int = 0) -> np.ndarray:
    """uint8 images far from black and white, so that clipping changes no attack."""
    return np.random.default_rng(seed).integers(100, 156, (count, SIDE, SIDE, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> Any:
    return linear()


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return greys(60)


@pytest.fixture(scope="module")
def labels(model: Any, images: np.ndarray) -> np.ndarray:
    """The model's own answers, but for the last ten images."""
    answers = np.argmax(np.asarray(model(images.astype(np.float32) / 255)), axis=1)
    answers[-10:] = (answers[-10:] + 1) % K
    return answers


def smallest_change(model: Any, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The L-inf distance to the nearest other class, 0 where misclassified: margin over the L1 norm of the weights."""
    weights, bias = model.layers[-1].get_weights()
    flat = images.reshape(len(images), -1).astype(np.float64) / 255
    logits = flat @ weights + bias
    distances = np.full(len(images), np.inf)
    for other in range(K):
        margin = logits[np.arange(len(labels)), labels] - logits[:, other]
        length = np.abs(weights[:, labels].T - weights[:, other]).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            distances = np.where(labels == other, distances, np.minimum(distances, margin / length))
    return np.maximum(distances, 0.0)


def test_an_attack_succeeds_where_the_closed_form_says_and_stays_in_the_ball(
    model: Any, images: np.ndarray, labels: np.ndarray
) -> None:
    distances = smallest_change(model, images, labels)
    epsilon = 2 / 255
    clear = np.abs(distances - epsilon) > 1e-4
    result = safeml.attack(model, images, labels, "apgd_t", eps="2/255")
    assert result.clean_correct.tolist() == [True] * 50 + [False] * 10
    np.testing.assert_array_equal(result.success[clear], (distances < epsilon)[clear])
    change = np.abs(result.adversarial - images.astype(np.float32) / 255).max(axis=(1, 2, 3))
    assert change.max() <= epsilon + 1e-6
    answers = np.argmax(np.asarray(model(result.adversarial)), axis=1)
    np.testing.assert_array_equal(answers != labels, result.success)
    assert (result.distances[~result.success] == np.inf).all()
    assert (result.queries[result.clean_correct] > 0).all()
    assert "60 images" in repr(result)
    assert len(repr(result)) < 200


def test_the_nearest_adversarial_examples_are_those_of_the_closed_form(
    model: Any, images: np.ndarray, labels: np.ndarray
) -> None:
    distances = smallest_change(model, images, labels)
    result = safeml.attack(model, images, labels, "fmn", eps="2/255")
    np.testing.assert_allclose(result.distances, distances, rtol=0.05, atol=1e-4)
    clear = np.abs(distances - 2 / 255) > 0.05 * distances
    np.testing.assert_array_equal(result.success[clear], (distances < 2 / 255)[clear])


def test_robust_accuracy_is_the_closed_form_with_the_interval_of_the_sign_tracks(
    model: Any, images: np.ndarray, labels: np.ndarray
) -> None:
    robust = smallest_change(model, images, labels) > 1 / 255
    pixels = images / np.float64(255)
    metric = safeml.robust_accuracy(
        model, pixels, labels, eps="1/255", attacks=("pgd", "apgd_t"), frames_per_sign=6
    )
    assert metric.value == pytest.approx(robust.mean(), abs=0.02)
    assert metric.low is not None
    assert metric.signs == 10
    undeclared = safeml.robust_accuracy(model, pixels, labels, eps="1/255", attacks=("fgsm",))
    assert (undeclared.low, undeclared.clustering) == (None, "unknown")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "apgd"}, ConfigError, 'there is no attack "apgd"; did you mean "(pgd|apgd_t)"'),
        ({"norm": "l1"}, ConfigError, "norm"),
        ({"method": "ddn"}, ConfigError, "DDN is defined for L2 only, and norm is .*; use fmn for this norm"),
        ({"eps": 4}, ConfigError, '"4/255"'),
        ({"eps": "four"}, ConfigError, "4/255"),
        ({"steps": 0}, ConfigError, "steps is 0; expected a whole number of at least 1"),
        ({"labels": np.full(60, K)}, InputRefused, "with 3 classes, ids are 0-2"),
        ({"images": np.zeros((60, 4, 4, 3), np.uint8)}, InputRefused, "channels"),
        (
            {"model": print},
            InputRefused,
            "a builtin_function_or_method; expected a path, or a model of Keras 3",
        ),
        ({"model": "absent.keras"}, (InputRefused, ConfigError, StageError), "absent.keras"),
        ({"input": {"rang": [0, 1]}}, ConfigError, 'did you mean "range"'),
    ],
)
def test_arguments_of_an_attack_are_refused_in_one_sentence(
    model: Any, images: np.ndarray, labels: np.ndarray, arguments: dict[str, Any], error: Any, words: str
) -> None:
    given = {"model": model, "images": images, "labels": labels, **arguments}
    with pytest.raises(error, match=words) as raised:
        safeml.attack(**given)
    assert "\n" not in str(raised.value)


def audit(model: Any, data: Any, **more: Any) -> Any:
    stages = {**tiny.tables(), **QUIET}
    gates = [
        {"id": "clean", "stage": "performance", "metric": "clean_accuracy", "op": ">=", "threshold": 0.5}
    ]
    return safeml.audit(model, data, **{"stages": stages, "gates": gates, "accepted": [], **more})


def metrics(run: Run) -> list[Any]:
    return [metric for stage in run.stages if stage.stage == "performance" for metric in stage.metrics]


def test_a_model_in_memory_has_the_identity_and_the_numbers_of_its_file(
    model: Any, images: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    from safeml.api.arrays import dataset

    model.save(tmp_path / "m.keras")
    data = dataset(images, labels, ["a", "b", "c"], frames_per_sign=6)
    memory = audit(model, data)
    file = audit(tmp_path / "m.keras", data, input={"channels": "grey"})
    assert memory.model.fingerprint == file.model.fingerprint
    assert metrics(memory) == metrics(file)
    sentence = "Model file not audited: the model was given in memory, so no file was scanned or audited."
    assert sentence in memory.verdict.detail
    assert "Model file not audited" not in file.verdict.detail
    assert memory.configuration["model"]["path"] == "(in memory)"
    assert memory.configuration["data"]["test"] == {"kind": "memory", "name": "arrays"}
    [stage] = [stage for stage in memory.stages if stage.stage == "model"]
    assert stage.status == "skipped"
    assert {finding.code for finding in stage.findings} == {"contract-not-measured"}


def test_a_run_has_a_short_text_and_an_escaped_card_and_writes_only_where_it_is_asked(
    model: Any, images: np.ndarray, labels: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = audit(model, (images, labels), frames_per_sign=6, title="<script>alert(1)</script>")
    assert list(tmp_path.iterdir()) == []
    assert len(repr(run)) < 200
    assert run.verdict.status.replace("_", " ") in repr(run)
    card = run._repr_html_()
    assert "<script" not in card
    assert "&lt;script&gt;" in card
    assert "prefers-color-scheme:dark" in card
    assert "clean" in card
    again = audit(model, (images, labels), frames_per_sign=6, title="<script>alert(1)</script>", out="run")
    assert again == run
    assert {"index.html", "junit.xml", "results.json"} <= {path.name for path in (tmp_path / "run").iterdir()}
    assert safeml.read_run("run") == run
    assert safeml.decide("run") == safeml.decide(run)
    assert safeml.decide("run").exit_code == run.verdict.exit_code
    assert safeml.compare("run", run).paired[0].lost == 0
    assert json.loads((tmp_path / "run" / "results.json").read_text())["model"]["name"] == "linear"


def test_settings_of_a_file_apply_and_its_model_and_test_data_are_replaced(
    model: Any, images: np.ndarray, labels: np.ndarray, tmp_path: Path
) -> None:
    settings = tmp_path / "safeml.toml"
    off = "".join(f"[stages.{name}]\nenabled = false\n" for name in QUIET)
    settings.write_text(
        'title = "From a file"\n[model]\nrecipe = "r.toml"\n[data.test]\nkind = "npz"\npath = "absent.npz"\n'
        f'{off}[[gates]]\nid = "mine"\nstage = "performance"\nmetric = "clean_accuracy"\nop = ">="\nthreshold = 0.9\n'
    )
    run = safeml.audit(model, (images, labels), config=settings, frames_per_sign=6)
    assert run.title == "From a file"
    assert [gate.id for gate in run.gates] == ["mine"]
    assert [entry.role for entry in run.data] == ["test"]


def test_dropout_that_was_built_in_training_mode_is_audited_at_inference(
    images: np.ndarray, labels: np.ndarray
) -> None:
    import keras

    inputs = keras.Input((SIDE, SIDE, 1))
    dropped = keras.layers.Dropout(0.5)(keras.layers.Flatten()(inputs), training=True)
    dense = keras.layers.Dense(K)
    noisy, plain = (
        keras.Model(inputs, dense(dropped)),
        keras.Model(inputs, dense(keras.layers.Flatten()(inputs))),
    )
    runs = [audit(model, (images, labels), frames_per_sign=6) for model in (noisy, plain)]
    assert metrics(runs[0]) == metrics(runs[1])


def test_a_model_that_changes_during_its_audit_voids_the_run(images: np.ndarray, labels: np.ndarray) -> None:
    changing = linear()

    def train(step: str, done: int, total: int) -> None:
        weights = changing.layers[-1].get_weights()
        changing.layers[-1].set_weights([weights[0] + 0.1, weights[1]])

    with pytest.raises(InputRefused, match="changed while it was audited; the run is void"):
        audit(changing, (images, labels), frames_per_sign=6, progress=train)


def _random() -> Any:
    """A model that is random at inference too, as if in training mode."""
    import keras

    class Noise(keras.layers.Layer):
        def call(self, values: Any) -> Any:
            return values + keras.random.normal(keras.ops.shape(values))

    inputs = keras.Input((SIDE, SIDE, 1))
    return keras.Model(inputs, keras.layers.Dense(K)(Noise()(keras.layers.Flatten()(inputs))), name="noisy")


def _with_nan() -> Any:
    broken = linear()
    broken.layers[-1].set_weights([np.full((SIDE * SIDE, K), np.nan), np.zeros(K)])
    return broken


def _without_configuration() -> Any:
    import keras

    class Odd(keras.Model):
        def __init__(self, width: object) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(K)

        def call(self, values: Any) -> Any:
            return self.dense(values)

    return Odd(object())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_random, "a model under test is deterministic at inference"),
        (_with_nan, "are not finite"),
        (_without_configuration, "no input shape|no configuration"),
        (dict, "model is a dict; expected a path, or a model of Keras 3"),
        (lambda: np.zeros(3), r"model is a numpy ndarray; .* export it to ONNX"),
    ],
)
def test_models_in_memory_that_cannot_be_audited_are_refused(
    make: Any, words: str, images: np.ndarray, labels: np.ndarray
) -> None:
    with pytest.raises(InputRefused, match=words) as error:
        audit(make(), (images, labels), frames_per_sign=6)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"profile": "fast"}, 'profile is "fast"; expected full, standard, quick'),
        ({"stagess": {}}, 'unknown keyword stagess; did you mean "stages"'),
        ({"stages": {"advers": {}}}, "safeml.audit: unknown key stages.advers"),
        ({"gates": []}, "safeml.audit: has no"),
        ({"data": "absent.npz"}, r"absent\.npz: does not exist; expected the test data"),
        ({"data": 3}, "the test data are a int"),
        ({"data": (1, 2, 3)}, "the test data are 3 objects"),
        ({"frames_per_sign": 0.5}, "frames_per_sign is 0.5"),
    ],
)
def test_other_arguments_of_an_audit_are_refused_in_one_sentence(
    model: Any, images: np.ndarray, labels: np.ndarray, change: dict[str, Any], words: str
) -> None:
    given = {"model": model, "data": (images, labels), "frames_per_sign": 6, **change}
    with pytest.raises((ConfigError, InputRefused), match=re.compile(words)):
        audit(**given)
