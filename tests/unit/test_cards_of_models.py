"""The card of each reference model says what its manifest recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

MODELS = Path(__file__).parents[2] / "models"
MANIFESTS = sorted(MODELS.glob("*/training.json"))


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda path: path.parent.name)
def test_a_card_states_images_signs_and_parameters(manifest: Path) -> None:
    recorded = json.loads(manifest.read_text())
    card = (manifest.parent / "README.md").read_text()
    counts = [recorded[role][what] for role in ("train", "valid") for what in ("images", "signs")]
    absent = [f"{count:,}" for count in [*counts, recorded["parameters"]] if f"{count:,}" not in card]
    assert not absent
    assert (manifest.parent / recorded["chosen"]["file"]).is_file()


def test_there_are_manifests() -> None:
    assert len(MANIFESTS) > 9
