"""What is frozen: the rule by size and similarity of the data, and what the recipe says itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from safeml.config.recipe import BackboneSettings
from safeml.errors import ConfigError
from safeml.settings.errors import sentence
from safeml.training.architectures.freezing import MANY, decide

LAYERS = 21


def settings(**values: Any) -> BackboneSettings:
    return BackboneSettings.model_validate({"source": "x.keras", **values})


@pytest.mark.parametrize(
    ("images", "similar", "frozen", "at_once"),
    [
        (MANY - 1, True, LAYERS, False),  # few, similar: feature extraction
        (MANY - 1, False, LAYERS // 2, False),  # few, dissimilar: the upper half is trained
        (MANY, True, 0, False),  # many, similar: fine-tuned after the head
        (MANY, False, 0, True),  # many, dissimilar: trained from the first epoch
    ],
)
def test_auto_is_the_rule_of_the_textbooks(images: int, similar: bool, frozen: int, at_once: bool) -> None:
    decision = decide(settings(similar=similar), LAYERS, images, random=False)
    assert (decision.frozen, decision.at_once) == (frozen, at_once)
    assert f"{images} images per class" in decision.reason
    assert ("not similar" in decision.reason) is not similar


@pytest.mark.parametrize(("freeze", "frozen"), [("all", 21), ("none", 0), (0.0, 0), (0.5, 10), (1.0, 21)])
def test_what_the_recipe_says_itself_is_done_whatever_the_data(freeze: Any, frozen: int) -> None:
    for images in (1, 10 * MANY):
        decision = decide(settings(freeze=freeze), LAYERS, images, random=False)
        assert (decision.frozen, decision.at_once) == (frozen, False)
        assert "freeze = " in decision.reason


@pytest.mark.parametrize("freeze", ["auto", "none"])
def test_random_weights_are_not_kept_unasked(freeze: Any) -> None:
    decision = decide(settings(freeze=freeze, similar=True), LAYERS, 1, random=True)
    assert (decision.frozen, decision.at_once) == (0, True)
    assert "random" in decision.reason


def test_random_weights_are_kept_where_the_recipe_says_so() -> None:
    assert decide(settings(freeze="all"), LAYERS, 1, random=True).frozen == LAYERS


@pytest.mark.parametrize("values", [{"source": ""}, {"source": "a\0b"}, {"weights": ""}, {"freeze": 1.5}])
def test_settings_that_mean_nothing_are_one_sentence(values: dict[str, Any]) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as caught:
        settings(**values)
    text = sentence(BackboneSettings, caught.value, str(Path("recipe.toml")))
    assert next(iter(values)) in text
    assert "\n" not in text
    assert ConfigError(text).exit_code == 2
