"""A surrogate from its file to the verdict: opened as the model is, refused as the model is, and part of what is kept."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from safeml import pipeline
from safeml.audits.adversarial import run as adversarial
from safeml.classifiers import load
from safeml.config.audit import Config, load_config
from safeml.data.load import load_dataset
from safeml.data.place import Place
from safeml.errors import ConfigError, InputRefused
from safeml.planning.plan import make_plan
from safeml.report.write import write_report
from safeml.results import Run, RunTimes, StageResult, Table
from safeml.sandbox import Outcome
from safeml.subject import open_subject
from tests import tiny

pytestmark = pytest.mark.slow

SIZE, IMAGES = 16, 86
# The tests are about the attacks, and about one stage that does not depend on the surrogate.
ASIDE = tuple(name for name in tiny.STAGES if name not in ("performance", "adversarial"))
CONFIG = f"""
[model]
path = "model.keras"
[data.test]
kind = "rendered"
images = {IMAGES}
size = {SIZE}
seed = 3
[stages.performance]
bootstrap = 100
{tiny.without(*ASIDE)}
[stages.adversarial]
images = 24
steps = 5
attacks = ["fgsm", "pgd"]
apgd_steps = 5
targets = 2
queries = 10
certify = false
threats = [{{norm = "linf", epsilon = "8/255"}}]
[stages.adversarial.surrogate]
path = "copy.keras"
[[gates]]
id = "accuracy"
stage = "performance"
metric = "clean_accuracy"
op = ">="
threshold = 0.5
"""


def write_linear(file: Path, classes: int = 0, noise: float = 0.0) -> None:
    """A Keras model of one dense layer that is right for every image, until its weights get `noise`, in their own spread."""
    import keras

    data = load_dataset("rendered", images=IMAGES, seed=3, size=SIZE)
    count = classes or data.classes
    pixels = data.images.reshape(len(data), -1) / 255.0 - 0.5
    weights = np.linalg.lstsq(pixels, 10 * np.eye(data.classes)[data.labels], rcond=None)[0][:, :count]
    weights += np.random.default_rng(1).normal(0, noise * weights.std(), weights.shape)
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, keras.layers.Dense(count)(keras.layers.Flatten()(inputs)))
    model.layers[-1].set_weights([weights, -0.5 * weights.sum(axis=0)])
    model.save(file)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("surrogate")
    write_linear(folder / "model.keras")
    write_linear(folder / "copy.keras", noise=0.5)
    write_linear(folder / "another.keras", noise=1.0)
    write_linear(folder / "two.keras", classes=2)
    (folder / "safeml.toml").write_text(CONFIG)
    return folder


@pytest.fixture(autouse=True)
def _no_child() -> Iterator[None]:
    """A model is loaded once: the first load in a process of its own is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(load, "_trial", lambda found: Outcome("ok", {}))
        patch.setattr(load, "describe", lambda model: {})
        yield


def settings(project: Path, surrogate: str = "copy.keras", extra: str = "") -> Config:
    text = CONFIG.replace('path = "copy.keras"', f'path = "{surrogate}"\n{extra}')
    (project / "changed.toml").write_text(text)
    return load_config(project / "changed.toml")


def audited(project: Path, out: str, surrogate: str = "copy.keras") -> tuple[Run, RunTimes]:
    run, times, _ = pipeline.audit(
        settings(project, surrogate),
        Place(project),
        project / "model.keras",
        project / out,
        finish=lambda run, times, folder: write_report(run, folder, times),
    )
    return run, times


def opened(project: Path, surrogate: str, extra: str = "") -> None:
    config = settings(project, surrogate, extra)
    open_subject(config, Place(project), project / "model.keras", lambda step, done, total: None)


def adversarial_stage(run: Run) -> StageResult:
    return next(stage for stage in run.stages if stage.stage == "adversarial")


def crashed(project: Path, out: str) -> None:
    """A run that ends after the attacks and before the stage is whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adversarial, "transfer_table", lambda found: 1 / 0)
        run, _ = audited(project, out, "mine.keras")
    assert adversarial_stage(run).status == "error"
    assert list((project / out / "work").rglob("transfer-linf_8*"))


def resumed(project: Path, out: str) -> tuple[StageResult, list[str], int]:
    run, times = audited(project, out, "mine.keras")
    assert times.resume is not None
    return adversarial_stage(run), times.resume.stages, times.resume.slices


def test_a_surrogate_is_part_of_what_is_kept(project: Path) -> None:
    """Unfinished and finished work alike: other content at the same path is other evidence, for this stage alone."""
    here = project / "mine.keras"
    shutil.copy(project / "copy.keras", here)
    crashed(project, "one")
    crashed(project, "two")
    first, _, slices = resumed(project, "one")
    assert slices > 0
    found = {metric.name: metric for metric in first.metrics}
    assert found["transfer_success.linf_8"].value is not None
    assert found["masking_flags"].n == 14
    [table] = [figure for figure in first.figures if isinstance(figure, Table) and figure.id == "transfer"]
    assert table.title == f"Transfer from {project.name}/mine.keras"
    assert table.title in (project / "one" / "adversarial.html").read_text()
    assert str(project) not in (project / "one" / "results.json").read_text()

    shutil.copy(project / "another.keras", here)
    for out in ("one", "two"):  # finished with the other surrogate, and unfinished
        second, stages, slices = resumed(project, out)
        assert "performance" in stages
        assert "adversarial" not in stages
        assert slices == 0
        assert second.reproduce[1] != first.reproduce[1]
        assert second.reproduce[1].startswith("surrogate ")
    assert "adversarial" in resumed(project, "two")[1]


def test_a_surrogate_that_changes_while_it_is_attacked_voids_the_run(project: Path) -> None:
    here = project / "moving.keras"
    shutil.copy(project / "copy.keras", here)
    subject = open_subject(
        settings(project, "moving.keras"), Place(project), project / "model.keras", lambda *step: None
    )
    subject.check_unchanged()
    shutil.copy(project / "another.keras", here)
    with pytest.raises(InputRefused, match=r"moving\.keras: changed while it was audited"):
        subject.check_unchanged()


@pytest.mark.parametrize(
    ("surrogate", "extra", "message"),
    [
        ("model.keras", "", "would be a white-box attack"),
        ("two.keras", "", "gives 2 outputs; the data have 43 classes"),
        ("absent.keras", "", r"absent\.keras"),
        ("safeml.toml", "", r"safeml\.toml"),
        (
            "copy.keras",
            'input = {channels = "grey"}',
            r'takes 3 channels; stages\.adversarial\.surrogate\.input\.channels = "grey"',
        ),
        ("copy.keras", "input = {height = 32}", r"stages\.adversarial\.surrogate\.input\.height says 32"),
    ],
)
def test_a_surrogate_that_is_none_is_refused_in_a_sentence(
    project: Path, surrogate: str, extra: str, message: str
) -> None:
    with pytest.raises(InputRefused, match=message) as refusal:
        opened(project, surrogate, extra)
    assert str(refusal.value).startswith("stages.adversarial.surrogate: ")
    assert str(refusal.value).endswith(".")


def test_the_same_weights_under_another_name_are_the_model_itself(project: Path) -> None:
    shutil.copy(project / "model.keras", project / "renamed.keras")
    with pytest.raises(InputRefused, match="white-box attack"):
        opened(project, "renamed.keras")


def test_a_contract_that_contradicts_itself_names_the_surrogate(project: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"stages\.adversarial\.surrogate\.input\.class_order has 3 entries"
    ):
        opened(project, "copy.keras", "input = {class_order = [0, 2, 1]}")


def test_a_surrogate_without_a_gradient_is_refused(project: Path) -> None:
    """Whatever it is called; and by its name alone where a plan opens nothing."""
    import keras

    model = keras.models.load_model(project / "copy.keras")
    model(np.zeros((1, SIZE, SIZE, 3), np.float32))  # the exporter wants it called once
    model.export(project / "copy.onnx", format="onnx", verbose=False)
    with pytest.raises(InputRefused, match="gives no gradient"):
        opened(project, "copy.onnx")
    with pytest.raises(InputRefused, match="gives no gradient"):
        make_plan(settings(project, "copy.onnx"), Place(project), timing=False)


def test_a_stage_that_is_off_opens_no_surrogate(project: Path) -> None:
    config = settings(project, "absent.keras")
    off = config.stages.adversarial.model_copy(update={"enabled": False})
    config = config.model_copy(update={"stages": config.stages.model_copy(update={"adversarial": off})})
    subject = open_subject(config, Place(project), project / "model.keras", lambda *step: None)
    assert subject.inputs.surrogate is None


@pytest.mark.parametrize("timing", [False, True])
def test_a_plan_counts_the_attack_on_the_surrogate(project: Path, timing: bool) -> None:
    """24 images, 5 steps each; before and after them an answer, one by the model, and one of the clean image."""
    config = settings(project)
    alone = config.stages.adversarial.model_copy(update={"surrogate": None})
    without = config.model_copy(update={"stages": config.stages.model_copy(update={"adversarial": alone})})
    planned = [make_plan(one, Place(project), timing=timing).stages for one in (config, without)]
    [steps, answers] = [
        [next(getattr(s, count) for s in stages if s.stage == "adversarial") for stages in planned]
        for count in ("gradient_steps", "forward_passes")
    ]
    assert steps[0] - steps[1] == 24 * 5
    assert answers[0] - answers[1] == 24 * 4
    seconds = [next(s.seconds for s in stages if s.stage == "adversarial") for stages in planned]
    assert all((found is not None) == timing for found in seconds)


def test_a_plan_without_a_probe_misses_an_absent_surrogate(project: Path) -> None:
    with pytest.raises(InputRefused, match=r"surrogate: .*absent\.keras: does not exist"):
        make_plan(settings(project, "absent.keras"), Place(project), timing=False)


def test_an_absent_surrogate_is_missed_before_a_model_is_trained_for_hours(project: Path) -> None:
    from safeml.cli.audit import run

    text = CONFIG.replace("copy.keras", "absent.keras").replace(
        'path = "model.keras"', 'recipe = "absent.toml"'
    )
    (project / "recipe.toml").write_text(text)
    with pytest.raises(InputRefused, match=r"surrogate: .*absent\.keras: does not exist"):
        run(project / "recipe.toml", None)
