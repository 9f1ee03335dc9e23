"""Properties of the decision that hold for any evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeml.errors import PRECEDENCE, ExitCode
from safeml.gates import decide
from safeml.results import Gate, Metric, StageResult, Verdict, Waiver

pytestmark = pytest.mark.slow

TODAY = "2026-06-15"
GRAVITY = {code: -rank for rank, code in enumerate(PRECEDENCE)}
NAMES = ("a", "b", "c")
numbers = st.floats(-1, 1)


@st.composite
def metrics(draw) -> Metric:
    low, value, high = sorted(draw(st.tuples(numbers, numbers, numbers)))
    common = {
        "name": draw(st.sampled_from(NAMES)),
        "title": "",
        "n": draw(st.integers(0, 50)),
        "signs": draw(st.none() | st.floats(1, 50)),
        "unit": draw(st.sampled_from(["proportion", "ratio", "cost"])),
        "clustering": draw(st.sampled_from(["tracks", "census", "unknown"])),
    }
    shape = draw(st.sampled_from(["whole", "point", "bare", "undefined"]))
    if shape == "undefined":
        return Metric(value=None, status="undefined", reason="nothing there", **common)
    if shape == "bare":
        return Metric(value=value, **common)
    return Metric(
        value=value,
        low=value if shape == "point" else low,
        high=value if shape == "point" else high,
        **common,
    )


@st.composite
def stages(draw) -> list[StageResult]:
    names = draw(st.lists(st.sampled_from(NAMES), unique=True))
    return [
        StageResult(
            stage=name,
            title=name,
            status=draw(st.sampled_from(["ok", "ok", "ok", "skipped", "error"])),
            reason="because",
            metrics=draw(st.lists(metrics(), max_size=3)),
        )
        for name in names
    ]


@st.composite
def gates(draw) -> list[Gate]:
    waivers = st.none() | st.sampled_from(["2026-06-14", "2026-06-15"]).map(
        lambda day: Waiver(owner="o", reason="r", until=day)
    )
    return [
        Gate(
            id=str(i),
            stage=draw(st.sampled_from(NAMES)),
            metric=draw(st.sampled_from(NAMES)),
            op=draw(st.sampled_from([">=", "=="])),
            threshold=draw(numbers),
            min_n=draw(st.integers(1, 50)),
            waiver=draw(waivers),
        )
        for i in range(draw(st.integers(1, 4)))
    ]


@given(stages(), gates(), st.randoms())
def test_the_order_of_stages_and_gates_does_not_matter(found, asked, random):
    verdict = decide(found, asked, TODAY)
    random.shuffle(found)
    random.shuffle(asked)
    assert decide(found, asked, TODAY) == verdict


@given(stages(), gates())
def test_a_verdict_survives_json(found, asked):
    verdict = decide(found, asked, TODAY)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


@given(stages(), gates())
def test_nothing_passes_without_a_whole_interval_on_enough_images(found, asked):
    for result in decide(found, asked, TODAY).gates:
        if result.status == "pass":
            metric = result.metric
            assert metric.status == "ok"
            assert metric.n >= result.gate.min_n
            assert result.gate.threshold <= metric.low <= metric.value <= metric.high
            assert result.margin >= 0


@given(
    metrics(),
    gates(),
    st.sampled_from(["value", "low", "high", "level"]),
    st.sampled_from(["nan", "inf", "-inf"]),
)
def test_what_is_not_finite_never_passes(metric, asked, field, bad):
    broken = metric.model_copy(update={field: float(bad)})
    found = [StageResult(stage=name, title=name).model_copy(update={"metrics": [broken]}) for name in NAMES]
    assert all(
        result.status not in ("pass", "waived") or result.gate.waiver
        for result in decide(found, asked, TODAY).gates
    )
    assert all(result.status != "pass" for result in decide(found, asked, TODAY).gates)


@given(metrics(), numbers, numbers, st.booleans())
def test_a_looser_limit_never_turns_a_pass_away(metric, one, other, upward):
    direction, op = ("up", ">=") if upward else ("down", "<=")
    strict, loose = (max(one, other), min(one, other)) if upward else (min(one, other), max(one, other))
    found = [StageResult(stage="s", title="s", metrics=[metric.model_copy(update={"direction": direction})])]

    def code(limit: float) -> int:
        asked = Gate(id="g", stage="s", metric=metric.name, op=op, threshold=limit)
        return decide(found, [asked], TODAY).exit_code

    assert GRAVITY[ExitCode(code(loose))] <= GRAVITY[ExitCode(code(strict))]


@given(stages(), gates(), gates())
def test_a_further_gate_never_improves_the_verdict(found, asked, more):
    more = [gate.model_copy(update={"id": f"more-{gate.id}"}) for gate in more]
    before, after = decide(found, asked, TODAY), decide(found, asked + more, TODAY)
    assert GRAVITY[ExitCode(after.exit_code)] >= GRAVITY[ExitCode(before.exit_code)]


@given(stages(), gates())
def test_an_expired_waiver_is_never_better_than_none(found, asked):
    expired = [
        gate.model_copy(update={"waiver": Waiver(owner="o", reason="r", until="2026-06-14")})
        for gate in asked
    ]
    bare = [gate.model_copy(update={"waiver": None}) for gate in asked]
    gravity = [GRAVITY[ExitCode(decide(found, each, TODAY).exit_code)] for each in (bare, expired)]
    assert gravity[1] >= gravity[0]


@given(stages(), gates())
def test_a_passed_verdict_has_only_gates_that_pass_or_are_waived(found, asked):
    verdict = decide(found, asked, TODAY)
    clean = all(result.status in ("pass", "waived") for result in verdict.gates)
    crashed = any(stage.status == "error" for stage in found)
    assert (verdict.status == "passed") == (verdict.exit_code == 0) == (clean and not crashed)
