"""The sentences of gates and verdicts: value, interval, limit, reason and what to do."""

from __future__ import annotations

import pytest

from safeml.gates import GROWING, decide
from safeml.statistics import further_signs
from tests.gate_cases import STATES, TODAY, gate, metric, stage, waiver


def test_the_sentence_names_condition_value_interval_and_limit():
    linf = metric(0.412, 0.382, 0.443, title="Accuracy under L∞ 4/255")
    verdict = decide([stage(linf)], [gate(0.45)], TODAY)
    assert verdict.sentence == (
        "Accuracy under L∞ 4/255: 41.2\u202f%, 95\u202f% interval 38.2 to 44.3\u202f%; the limit is 45\u202f%."
    )


def test_the_detail_lists_the_other_gates_by_state():
    gates = [
        gate(0.95, id="a", title="A"),
        gate(0.9, id="b", title="B"),
        gate(slice="night", id="c"),
        gate(id="d", title="D"),
    ]
    gates += [gate(stage="ood", id="e", title="E"), gate(0.99, id="f", title="F", waiver=waiver())]
    verdict = decide([stage(metric())], gates, TODAY)
    assert verdict.sentence.startswith("A: 90.0")
    assert verdict.sentence.endswith(". And evidence is missing.")
    assert verdict.detail == (
        "Evidence is missing, so other gates may fail as well. Without usable evidence: acc (night). Not proven: B. "
        "Not measured: E. Waived: F."
    )


def test_a_pass_names_its_scope_and_its_nearest_gate():
    gates = [
        gate(0.8, id="far"),
        gate(0.87, id="near", title="Near"),
        gate(0.95, id="w", title="Late", waiver=waiver()),
    ]
    verdict = decide([stage(metric(), on_what="600 clean images.")], gates, TODAY)
    assert verdict.sentence.startswith("2 gates pass and 1 waived; nearest to its limit: Near: 90.0")
    assert verdict.sentence.endswith("The margin of its interval is 1.0 percentage points.")
    assert verdict.detail == "Waived: Late. This holds for the gated stages: Clean (600 clean images)."


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            "no interval",
            "Not proven: no confidence interval: the data have no track ids and frames_per_sign is not set. "
            "Set frames_per_sign in [data.test] (1 if all images are independent; when unsure declare the largest track).",
        ),
        ("too few", "Not proven: 1,000 images are too few; the gate asks for 1,001."),
        ("stage skipped", "skipped: no training data."),
        ("undefined", "Accuracy is not measured: no images of this class."),
        ("no slice", "recorded no acc for night"),
        ("waived fail", "Waived by R. Owner until 2026-12-31: Known and accepted."),
        ("waived error", "cannot be waived"),
        ("waived pass", "Its waiver is not needed."),
        ("expired fail", "The waiver of R. Owner expired on 2026-06-14."),
    ],
)
def test_the_message_says_why_and_what_to_do(state, words):
    found, asked = STATES[state]
    result = decide([found], [asked], TODAY).gates[0]
    assert words in result.message
    assert (result.decided_without_waiver is not None) == (asked.waiver is not None)


def test_a_value_without_interval_for_another_reason_says_that_reason():
    flat = metric(0.0, None, None, method="none: every resample gives the same value")
    message = decide([stage(flat)], [gate()], TODAY).gates[0].message
    assert "Not proven: no confidence interval (every resample gives the same value)." in message
    assert "frames_per_sign" not in message


def test_an_open_gate_says_how_many_sign_tracks_would_decide_it():
    half = metric(0.5, 0.25, 0.75, unit="ratio")
    contains = "Not proven: the confidence interval contains the threshold"
    # The standard error is 0.25 / 1.96 = 0.1276: at 0.37 the value is farther from the limit than that.
    far = decide([stage(half)], [gate(0.37)], TODAY).gates[0]
    assert far.needs_signs == further_signs(half, 0.37, ">=") == 270
    advice = "about 270 more sign tracks would decide it with even odds, as passed at this value."
    assert far.message.endswith(f"{contains}; {advice} {GROWING}")
    below = decide([stage(half)], [gate(0.63)], TODAY).gates[0]
    assert "with even odds, as failed at this value." in below.message


def test_bounds_of_one_side_are_named_as_such():
    bounds = metric(0.5, 0.25, 0.75, unit="ratio", sides=1)
    message = decide([stage(bounds)], [gate(0.2)], TODAY).gates[0].message
    assert "one-sided 95\u202f% bounds 0.25 to 0.75" in message


@pytest.mark.parametrize("limit", [0.375, 0.5, 0.6])
def test_no_number_is_given_where_the_value_is_within_one_standard_error(limit):
    half = metric(0.5, 0.25, 0.75, unit="ratio")
    result = decide([stage(half)], [gate(limit)], TODAY).gates[0]
    assert (result.status, result.needs_signs) == ("not_proven", None)
    assert result.message.endswith(
        "contains the threshold, and the value is within one standard error of it."
    )


def test_without_an_error_the_standard_error_is_zero_so_that_a_number_is_given():
    few = metric(1.0, 0.9, 1.0, n=400, design_effect=4.0)
    result = decide([stage(few)], [gate(0.99)], TODAY).gates[0]
    assert result.needs_signs == further_signs(few, 0.99, ">=") > 0


def test_what_no_feasible_number_decides_is_said():
    unknown = metric(0.5, 0.25, 0.75, unit="ratio", signs=None)
    result = decide([stage(unknown)], [gate(0.3)], TODAY).gates[0]
    assert result.message.endswith(
        "no feasible number of additional sign tracks would decide it at this value."
    )


def test_too_few_images_are_counted_in_signs():
    result = decide([stage(metric())], [gate(min_n=1005)], TODAY).gates[0]
    assert result.needs_signs == 1  # 5 more images at 10 images for each sign
