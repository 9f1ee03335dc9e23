"""From a recipe to a folder: what is kept, what is refused, what the manifest and the notes say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from safeml.config.recipe import load_recipe
from safeml.data.place import Place
from safeml.errors import ConfigError
from safeml.recipes import Prepared, is_done, prepare, recipe_data, train, trained_folder, training_run
from safeml.store.lock import folder_lock

pytestmark = pytest.mark.slow

CLASSES = '["Stop", "Yield", "Priority road"]'
RECIPE = f"""
name = "three"
architecture = "lenet"
width = 4
epochs = 2
batch = 16
[data.train]
kind = "rendered"
images = 1290
seed = 1
classes = {CLASSES}
[data.valid]
kind = "rendered"
images = 860
seed = 2
classes = {CLASSES}
"""


class Interrupted(Exception):
    pass


def write(folder: Path, text: str = RECIPE) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def run(recipe: Path, out: Path, force: bool = False) -> list[int]:
    """Train, and give the epochs that were trained now."""
    seen: list[int] = []
    train(ready(recipe), out, lambda entry: seen.append(entry["epoch"]), force)
    return seen


def ready(recipe: Path) -> Prepared:
    return prepare(recipe, Place(recipe.parent))


def manifest(out: Path) -> dict[str, Any]:
    return json.loads((out / "training.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, and its finished training in `out`; copy it."""
    folder = tmp_path_factory.mktemp("finished")
    assert run(write(folder), folder / "out") == [1, 2]
    return folder


def copied(finished: Path, folder: Path) -> tuple[Path, Path]:
    """Copy a finished training into `folder`, and return its recipe and its folder."""
    shutil.copytree(finished, folder, dirs_exist_ok=True)
    return folder / "recipe.toml", folder / "out"


def test_a_finished_training_is_kept_and_another_recipe_is_refused(finished: Path, tmp_path: Path) -> None:
    recipe, out = copied(finished, tmp_path)
    assert run(recipe, out) == []
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert is_done(ready(recipe), out)

    write(tmp_path, RECIPE.replace("epochs = 2", "epochs = 1"))
    with pytest.raises(ConfigError, match=r"the training of another recipe.*--force"):
        run(recipe, out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert run(recipe, out, force=True) == [1]
    assert len(manifest(out)["epochs"]) == 1
    [model] = [path for path in out.iterdir() if path.suffix == ".keras"]
    assert model.name == manifest(out)["chosen"]["file"]


def test_an_older_manifest_without_newer_settings_is_still_the_same_recipe(
    finished: Path, tmp_path: Path
) -> None:
    recipe, out = copied(finished, tmp_path)
    made = manifest(out)
    for name in ("optimizer", "schedule", "balance", "early_stopping", "inflation", "backbone"):
        del made["recipe"][name]
    (out / "training.json").write_text(json.dumps(made))
    assert run(recipe, out) == []


def test_the_note_of_a_resumed_training_and_the_lock_of_a_running_one(tmp_path: Path) -> None:
    recipe, out = write(tmp_path), tmp_path / "out"

    def stop(entry: dict[str, Any]) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        train(ready(recipe), out, stop)
    assert not (out / "training.json").exists()
    with folder_lock(out), pytest.raises(ConfigError, match="another run uses it"):
        run(recipe, out)
    assert run(recipe, out) == [2]
    notes = json.loads((out / "run.json").read_text())["notes"]
    assert notes == ["Training was resumed after epoch 1 of 2."]
    assert not list(out.glob(".*"))


def test_inflation_compares_with_a_random_split_of_the_same_images(tmp_path: Path) -> None:
    recipe, out = (
        write(tmp_path, RECIPE.replace("batch = 16", "batch = 16\ninflation = true")),
        tmp_path / "o",
    )
    assert run(recipe, out) == [1, 2, 1, 2]
    found, (training, choosing) = (
        manifest(out)["inflation"],
        recipe_data(load_recipe(recipe), Place(tmp_path, tmp_path)),
    )
    assert found["images"] == len(choosing)
    assert found["split"] == "image"
    assert 0 <= found["images_of_shared_signs"] <= len(choosing)
    best = max(path.stem.split("-")[1] for path in (out / "inflation" / "checkpoints").iterdir())
    assert f"{found['val_accuracy']:.4f}" == best
    page = training_run(ready(recipe), out)
    assert "random split" in page.model_dump_json()
    assert len(training) > len(choosing)


def test_tracks_stay_whole_in_a_split_by_sign(tmp_path: Path) -> None:
    text = RECIPE[: RECIPE.index("[data.valid]")].replace(
        "[data.train]", "[data]\nvalid_fraction = 0.25\n[data.train]"
    )
    training, choosing = recipe_data(load_recipe(write(tmp_path, text)), Place(tmp_path, tmp_path))
    assert training.tracks is not None
    assert choosing.tracks is not None
    assert not np.intersect1d(training.tracks, choosing.tracks).size
    leaking = text.replace("valid_fraction = 0.25", 'valid_fraction = 0.25\nsplit = "image"')
    again, leaked = recipe_data(load_recipe(write(tmp_path, leaking)), Place(tmp_path, tmp_path))
    assert len(again) + len(leaked) == len(training) + len(choosing)


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    text = RECIPE.replace(f"images = 860\nseed = 2\nclasses = {CLASSES}", "images = 43\nseed = 2").replace(
        f"classes = {CLASSES}\n[data.valid]", "[data.valid]"
    )
    with pytest.raises(ConfigError, match=r"have no image of \d+ of 43 classes, the first is"):
        recipe_data(load_recipe(write(tmp_path, text)), Place(tmp_path, tmp_path))
    other = RECIPE.replace(CLASSES, '["Stop", "Yield"]', 1)
    with pytest.raises(ConfigError, match="expected the same classes in both"):
        recipe_data(load_recipe(write(tmp_path, other)), Place(tmp_path, tmp_path))


def test_another_recipe_is_trained_in_another_folder(tmp_path: Path) -> None:
    recipe = write(tmp_path)
    one = trained_folder(tmp_path, ready(recipe))
    assert one == trained_folder(tmp_path, ready(recipe))
    write(tmp_path, RECIPE.replace("width = 4", "width = 5"))
    assert trained_folder(tmp_path, ready(recipe)) != one


def test_a_backbone_that_changed_is_another_training(finished: Path, tmp_path: Path) -> None:
    source, trained = copied(finished, tmp_path)
    trained.replace(tmp_path / "source")
    (tmp_path / "two").mkdir()
    text = RECIPE.replace('architecture = "lenet"\nwidth = 4', 'architecture = "backbone"').replace(
        "[data.train]",
        '[backbone]\nsource = "../source"\nsimilar = true\nhead_epochs = 1\n[data.train]',
        1,
    )
    recipe, out = write(tmp_path / "two", text), tmp_path / "two" / "out"
    run(recipe, out)
    assert set(manifest(out)["taken_over"]) == {"source"}
    assert run(recipe, out) == []
    write(tmp_path, RECIPE.replace("epochs = 2", "epochs = 1"))
    run(source, tmp_path / "source", force=True)
    with pytest.raises(ConfigError, match="another backbone"):
        run(recipe, out)


def test_the_same_recipe_on_other_images_is_another_training(tmp_path: Path) -> None:
    """The model of the first images, audited for the second, could pass without having seen them."""
    recipe = write(
        tmp_path,
        RECIPE.replace('kind = "rendered"\nimages = 1290\nseed = 1', 'kind = "npz"\npath = "train.npz"'),
    )
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        names = np.array(["Stop", "Yield", "Priority road"])
        images = rng.integers(0, 256, (30, 32, 32, 3), dtype=np.uint8)
        np.savez(
            tmp_path / "train.npz",
            images=images,
            labels=np.arange(30) % 3,
            class_names=names,
            track_id=np.arange(30),
        )
        if seed == 1:
            assert run(recipe, tmp_path / "out") == [1, 2]
            first = trained_folder(tmp_path, ready(recipe))
    with pytest.raises(ConfigError, match="on other images"):
        run(recipe, tmp_path / "out")
    assert trained_folder(tmp_path, ready(recipe)) != first


def test_a_training_does_not_write_into_an_audit_and_removes_nobody_elses_files(tmp_path: Path) -> None:
    recipe, out = write(tmp_path), tmp_path / "out"
    (out / "stages").mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds an audit"):
        run(recipe, out, force=True)
    (out / "stages").rmdir()
    for name in ("logs", "checkpoints"):
        (out / name).mkdir()
        (out / name / "notes.txt").write_text("mine")
    from safeml.training.fit import forget

    forget(out)
    assert (out / "logs" / "notes.txt").read_text() == "mine"
    assert (out / "checkpoints" / "notes.txt").read_text() == "mine"
