"""The model card: what was measured and stated, nothing else, in a form that other readers accept."""

from __future__ import annotations

import json
from typing import Any

import pytest

from safeml.report.card import NOT_STATED, as_yaml, card_data, card_json, card_markdown
from safeml.results import CardText, Run
from tests import sample_run as samples
from tests.sample_run import HOSTILE

pytestmark = pytest.mark.slow


def front_matter(text: str) -> dict[str, Any]:
    """Read the metadata: lines of a key and a JSON value, which YAML reads alike."""
    lines = text.split("\n")
    assert lines[0] == "---"
    end = lines.index("---", 1)
    return {key: json.loads(value) for key, value in (line.split(": ", 1) for line in lines[1:end])}


def sample_run() -> Run:
    return samples.sample_run()[0]


def with_card(**fields: str) -> Run:
    return sample_run().model_copy(update={"card": CardText(**fields)})


def test_what_no_one_stated_is_said_to_be_not_stated() -> None:
    text = card_markdown(sample_run())
    assert f"- Intended use: {NOT_STATED}" in text
    assert "license" not in front_matter(text)
    assert card_data(sample_run())["stated"]["intended_use"] is None


def test_what_is_stated_is_there() -> None:
    run = with_card(license="apache-2.0", intended_use="Signs in daylight.", contact="safety@example.com")
    text = card_markdown(run)
    assert front_matter(text)["license"] == "apache-2.0"
    assert "- Intended use: Signs in daylight." in text


def test_the_card_has_the_numbers_and_states_of_the_gates() -> None:
    run = sample_run()
    data = json.loads(card_json(run))
    assert len(data["gates"]) == len(run.verdict.gates)
    for entry, result in zip(data["gates"], run.verdict.gates, strict=True):
        assert entry["status"] == result.status
        assert entry["value"] == (result.metric.value if result.metric else None)
    assert data["verdict"]["exit_code"] == run.verdict.exit_code


def test_a_metric_without_a_value_is_in_no_result_of_the_metadata() -> None:
    run = sample_run()
    assert any(r.metric is None or r.metric.value is None for r in run.verdict.gates)
    [index] = front_matter(card_markdown(run))["model-index"]
    values = [entry["value"] for result in index["results"] for entry in result["metrics"]]
    assert values
    assert all(isinstance(value, float | int) for value in values)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_strings_stay_in_their_place(text: str) -> None:
    run = with_card(intended_use=text, license=text)
    run = run.model_copy(update={"model": run.model.model_copy(update={"name": text}), "responsible": text})
    made = card_markdown(run)
    assert front_matter(made)["license"] == text
    body = made.split("\n---\n", 1)[1]
    assert "<script" not in body
    assert "<img" not in body
    assert body.count("\n## ") == card_markdown(sample_run()).split("\n---\n", 1)[1].count("\n## ")


@pytest.mark.parametrize(
    ("value", "written"), [(1e-05, "1.0e-05"), (2.5e-07, "2.5e-07"), (0.97, "0.97"), (1e22, "1.0e+22")]
)
def test_a_small_number_is_a_number_for_readers_of_yaml_1_1(value: float, written: str) -> None:
    """Without a dot, YAML 1.1, and so PyYAML, reads 1e-05 as a string."""
    assert as_yaml({"value": [value]}) == f'{{"value": [{written}]}}'


def test_a_text_like_a_number_remains_a_text() -> None:
    assert as_yaml({"name": "run 1e-05 [1e-05]"}) == '{"name": "run 1e-05 [1e-05]"}'
