"""The shorter profiles: standard takes fewer images alone, quick shortens an audit without dropping what a gate reads."""

from __future__ import annotations

from typing import Any

import pytest

from safeml.config.audit import Config, parse_config
from safeml.errors import ConfigError
from safeml.pipeline import in_profile
from safeml.profiles import PROFILES, proves
from safeml.stages import STAGES, settings_of
from tests.unit.test_config import GATE, GOOD

THREATS = [
    {"norm": "linf", "epsilon": 2 / 255},
    {"norm": "linf", "epsilon": 6 / 255},
    {"norm": "l2", "epsilon": 0.5},
]


def shortened(*gates: dict[str, Any], **settings: Any) -> Config:
    values = {"threats": THREATS, **settings}
    config = parse_config({**GOOD, "gates": [GATE, *gates], "stages": {"adversarial": values}}, "safeml.toml")
    return in_profile(config, "quick")


def robust_gate(label: str) -> dict[str, Any]:
    return {**GATE, "id": "robust", "stage": "adversarial", "metric": f"robust_accuracy.{label}"}


def test_without_a_gate_the_main_threat_stays_and_meets_the_whole_ensemble() -> None:
    adversarial = shortened().stages.adversarial
    assert adversarial.main.label == "linf_6"
    assert adversarial.main in adversarial.threats
    assert adversarial.full_ensemble == ("linf_6",)


@pytest.mark.parametrize("label", ["linf_2", "l2_0.5"])
def test_what_a_gate_reads_stays_and_meets_the_whole_ensemble(label: str) -> None:
    adversarial = shortened(
        robust_gate(label), full_ensemble=["linf_2", "linf_6", "l2_0.5"]
    ).stages.adversarial
    assert label in [threat.label for threat in adversarial.threats]
    assert adversarial.full_ensemble == (label,)


def test_the_gates_and_the_attacks_stay() -> None:
    short = shortened(robust_gate("linf_6"))
    assert [gate.id for gate in short.gates] == ["a", "robust"]
    assert short.stages.adversarial.attacks == parse_config(GOOD, "safeml.toml").stages.adversarial.attacks


def test_nothing_is_more_than_the_profile_allows_nor_more_than_was_asked_for() -> None:
    short = shortened(images=3)
    assert short.stages.adversarial.images == 3
    full = parse_config(GOOD, "safeml.toml")
    for stage in STAGES:
        settings = settings_of(full.stages, stage)
        quick_settings = stage.quick(settings, frozenset())
        assert (
            stage.quick(quick_settings, frozenset()) == quick_settings
        )  # what is short already stays as it is
        for name, value in settings:
            if isinstance(value, int):
                assert getattr(quick_settings, name) <= value, (stage.name, name)


def test_every_stage_that_measures_images_has_a_quick_form_or_one_pass() -> None:
    """A stage that runs at its full size in the quick profile does so because it makes one pass over the images."""
    full = parse_config(GOOD, "safeml.toml")
    unchanged = {
        stage.name
        for stage in STAGES
        if stage.quick(settings_of(full.stages, stage), frozenset()) == settings_of(full.stages, stage)
    }
    assert unchanged == {"model", "training", "quantization", "fairness"}


def test_the_standard_profile_takes_fewer_images_and_changes_nothing_else() -> None:
    """Its gates decide, because an interval carries a smaller sample. Fewer steps, threats or attacks would not show in an interval."""
    full = parse_config(GOOD, "safeml.toml")
    standard = in_profile(full, "standard")
    assert standard.model_copy(update={"stages": full.stages}) == full
    shorter = set()
    for stage in STAGES:
        before, after = settings_of(full.stages, stage), settings_of(standard.stages, stage)
        changed = {name for name, value in after if value != getattr(before, name)}
        for name in changed:
            assert name == "images" or name.endswith("_images"), (stage.name, name)
            assert getattr(after, name) < getattr(before, name)
        assert stage.standard(after, frozenset()) == after
        short = stage.quick(before, frozenset())
        assert all(getattr(short, name) <= getattr(after, name) for name in changed), stage.name
        shorter |= {stage.name} if changed else set()
    assert shorter == {"adversarial", "comparison", "explainability", "monitors", "perturbation", "physical"}


def test_the_standard_profile_keeps_what_fits_a_monitor_or_an_attack_on_memory() -> None:
    """These images are no sample that an interval counts: with fewer of them the fitted thing is another one, or a weaker attack."""
    full = parse_config(GOOD, "safeml.toml")
    standard = in_profile(full, "standard")
    assert standard.stages.monitors.fitting_images == full.stages.monitors.fitting_images
    assert standard.stages.privacy == full.stages.privacy


def test_which_profiles_decide() -> None:
    assert {name for name in PROFILES if proves(name, accept_quick=False)} == {"full", "standard"}
    assert all(proves(name, accept_quick=True) for name in PROFILES)
    assert not proves("of a later version", accept_quick=False)
    with pytest.raises(ConfigError, match="there is no profile 'fast'; expected full, standard, quick"):
        in_profile(parse_config(GOOD, "safeml.toml"), "fast")
