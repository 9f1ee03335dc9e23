"""How often does a model exactly at a gate's limit pass? Nominal: 2.5 %, one tail of a 95 % interval.

Simulates error counts of sign tracks, asks `safeml.statistics` for the interval, and counts passes, for accuracy at limits of
90 to 99.3 %. Frames of one sign (30 each, or of unequal numbers) are correlated in three ways: `beta` draws the error
rate of each sign from a beta distribution; `mixture` makes a few signs mostly wrong and leaves scattered errors on the rest,
both with the correlation rho; `whole` puts a share rho of the errors on wholly wrong signs and scatters the rest, which is
the hardest case for an estimated design effect. The plain estimate of Korn and Graubard, and the declared worst case
without tracks, are recorded too. Width is relative to the interval that knows the true design effect.

Further parts: `hazard` is the mean cost exactly at its limit, where a share of it is on wholly wrong signs at cost 1 and the rest
on single frames at a lower cost; `long` draws sign tracks of very unequal length, of which long ones are wrong more often;
`power` is the pass rate of models better than their limit. Each records one pseudo-sign of the mean size D beside ours.

Run: python benchmarks/gate_error_rates.py [--repeats 2000]
Legend: R repeats, C signs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.special import betaincinv, stdtrit

from safeml.statistics.clusters import PSEUDO_SIGNS

RESULTS = Path(__file__).parent / "results" / "gate_error_rates.json"
FRAMES = 30
TAIL = 0.975
SIGNS = (50, 100, 200, 280, 368, 420)
ERROR_RATES = (0.10, 0.05, 0.01)
CORRELATIONS = (
    ("beta", 0.0),
    ("beta", 0.2),
    ("beta", 0.5),
    ("beta", 0.9),
    ("beta", 1.0),
    ("mixture", 0.2),
    ("mixture", 0.5),
    ("mixture", 0.9),
)
WHOLE_ERROR_RATES = (0.10, 0.05, 0.035, 0.025, 0.015, 0.01, 0.007)
WHOLE_SHARES = (0.5, 0.55, 0.6, 0.65)
WHOLE_SIGNS = (100, 200, 420, 700)
# Signs, limit, true accuracy, correlation.
POWER = (
    (100, 0.95, 0.985, 0.2),
    (100, 0.95, 0.985, 1.0),
    (421, 0.95, 0.97, 0.05),
    (421, 0.95, 0.97, 0.2),
    (421, 0.95, 0.97, 0.5),
    (421, 0.95, 0.97, 1.0),
    (421, 0.98, 0.99, 0.2),
    (421, 0.98, 0.99, 1.0),
    (2000, 0.98, 0.985, 0.5),
)


def sizes_of(kind: str, signs: int) -> np.ndarray:
    """Frames of each sign: float [C], the same for each repeat."""
    rng = np.random.default_rng(signs)
    if kind == "equal":
        return np.full(signs, float(FRAMES))
    if kind == "5 to 55":
        return rng.integers(5, 56, signs).astype(float)
    return np.clip(rng.lognormal(3, 0.8, signs), 1, 150).round()


def errors(
    rng: np.random.Generator, model: str, rho: float, rate: float, sizes: np.ndarray, repeats: int
) -> np.ndarray:
    """Error counts float [R, C] of frames that err at `rate` and correlate with `rho` within a sign."""
    shape, frames = (repeats, len(sizes)), sizes.astype(int)
    wrong = rng.random(shape) < rate
    if rho == 0:
        return rng.binomial(frames, rate, shape).astype(float)
    if rho == 1:
        return wrong * sizes
    if model == "beta":
        spread = 1 / rho - 1
        return rng.binomial(frames, rng.beta(rate * spread, (1 - rate) * spread, shape)).astype(float)
    if model == "whole":
        whole = rng.random(shape) < rate * rho
        return np.where(whole, sizes, rng.binomial(frames, scattered_rate(rate, rho), shape))
    copied = np.sqrt(rho)
    return rng.binomial(frames, (1 - copied) * rate + copied * wrong).astype(float)


def scattered_rate(rate: float, share: float) -> float:
    """The error rate of the other signs where a share of the error `rate` is on wholly wrong signs."""
    return rate * (1 - share) / (1 - rate * share)


def correlation(model: str, rho: float, rate: float) -> float:
    """The correlation of two frames of one sign."""
    if model != "whole":
        return rho
    whole, other = rate * rho, scattered_rate(rate, rho)
    return (whole * (1 - rate) ** 2 + (1 - whole) * (other - rate) ** 2) / (rate * (1 - rate))


def effective_size(
    wrong: np.ndarray,
    sizes: np.ndarray,
    guarded: bool,
    pseudo_signs: int = PSEUDO_SIGNS,
    largest: bool = True,
) -> np.ndarray:
    """`safeml.statistics.clusters.design_effect` for R repeats at once; unguarded: the plain estimate. Tested to agree.

    wrong: float [R, C]. sizes: float [C] or [R, C]. largest: pseudo-signs of the size of the largest, else the mean size D.
    """
    n, signs = sizes.sum(axis=-1), sizes.shape[-1]
    mean_size = (sizes**2).sum(axis=-1) / n
    size = sizes.max(axis=-1) if largest else mean_size
    rate = wrong.sum(axis=1) / n
    between = ((wrong - rate[:, None] * sizes) ** 2).sum(axis=1)
    binomial = n * rate * (1 - rate)
    few_signs = (stdtrit(signs - 1, TAIL) / stdtrit(n - 1, TAIL)) ** 2
    if guarded:
        effect = (between + pseudo_signs * size**2) / (binomial + pseudo_signs * size)
        effect = np.maximum(effect, np.minimum(effect * few_signs, size))
    else:
        effect = np.where(binomial > 0, between / np.where(binomial > 0, binomial, 1) * few_signs, mean_size)
    return n / np.maximum(effect, 1)


def ends(rate: np.ndarray, size: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    """Clopper-Pearson ends of the error rate [R] at an effective size."""
    hits, misses = rate * size, (1 - rate) * size
    low = np.where(hits > 0, betaincinv(np.maximum(hits, 1e-12), misses + 1, 1 - TAIL), 0)
    high = np.where(misses > 0, betaincinv(hits + 1, np.maximum(misses, 1e-12), TAIL), 1)
    return low, high


def one_case(kind: str, signs: int, rate: float, model: str, rho: float, repeats: int) -> dict:
    """Pass rates at the limit, and widths relative to the known design effect, of one setting."""
    sizes = sizes_of(kind, signs)
    n = sizes.sum()
    seed = [signs, round(1000 * rate), round(100 * rho), ("mixture", "beta", "whole").index(model), len(kind)]
    rng = np.random.default_rng(seed)
    wrong = errors(rng, model, rho, rate, sizes, repeats)
    measured = wrong.sum(axis=1) / n
    known = n / (1 + correlation(model, rho, rate) * ((sizes**2).sum() / n - 1))
    low, high = ends(measured, known)
    case = {"sizes": kind, "signs": signs, "limit": 1 - rate, "errors": model, "rho": rho}
    for name, size in (
        ("ours", effective_size(wrong, sizes, True)),
        ("plain", effective_size(wrong, sizes, False)),
        ("declared", float(signs)),
    ):
        ours_low, ours_high = ends(measured, size)
        case[f"pass_{name}"] = float(np.mean(ours_high <= rate))
        case[f"width_{name}"] = float(np.mean((ours_high - ours_low) / (high - low)))
    return case


def pass_rates(wrong: np.ndarray, sizes: np.ndarray, limit: float) -> dict[str, float]:
    """Shares of R repeats whose upper end of the error or cost is at most `limit`, ours and with one pseudo-sign."""
    measured = wrong.sum(axis=1) / sizes.sum(axis=-1)
    methods = {
        "ours": effective_size(wrong, sizes, True),
        "one_pseudo_sign": effective_size(wrong, sizes, True, pseudo_signs=1, largest=False),
    }
    return {
        f"pass_{name}": round(float(np.mean(ends(measured, size)[1] <= limit)), 4)
        for name, size in methods.items()
    }


def hazard_case(signs: int, limit: float, share: float, cost: float, repeats: int) -> dict | None:
    """The mean cost is at its limit: a share of it on wholly wrong signs at cost 1, the rest on single frames at `cost`."""
    whole = limit * share
    single = (limit - whole) / cost / (1 - whole)
    if single >= 1:
        return None
    rng = np.random.default_rng([signs, round(1e4 * limit), round(100 * share), round(100 * cost)])
    sizes = np.full(signs, float(FRAMES))
    shape = (repeats, signs)
    costs = np.where(rng.random(shape) < whole, FRAMES, cost * rng.binomial(FRAMES, single, shape))
    case = {"signs": signs, "limit": limit, "share": share, "cost": cost}
    return {**case, **pass_rates(costs, sizes, limit)}


def long_case(signs: int, rate: float, spread: float, repeats: int) -> dict:
    """Lognormal tracks, each wholly wrong with a chance that grows with its length; the frames' error is at its limit."""
    rng = np.random.default_rng([signs, round(1e4 * rate), round(100 * spread)])
    log_sizes = rng.normal(3, spread, (repeats, signs))
    sizes = np.clip(np.exp(log_sizes), 1, 600).round()
    everyone = np.clip(np.exp(rng.normal(3, spread, 400_000)), 1, 600).round()
    # The chance min(1, slope * size) has the error `rate` over all frames.
    low, high = 0.0, 1.0
    for _ in range(60):
        slope = (low + high) / 2
        error = (everyone * np.minimum(1, slope * everyone)).sum() / everyone.sum()
        low, high = (slope, high) if error < rate else (low, slope)
    wrong = sizes * (rng.random(sizes.shape) < np.minimum(1, slope * sizes))
    return {"signs": signs, "limit": 1 - rate, "spread": spread, **pass_rates(wrong, sizes, rate)}


def power_case(signs: int, limit: float, truth: float, rho: float, repeats: int) -> dict:
    """The pass rate of a model of the accuracy `truth` above its limit."""
    rng = np.random.default_rng([signs, round(1e4 * limit), round(1e4 * truth), round(100 * rho)])
    sizes = np.full(signs, float(FRAMES))
    wrong = errors(rng, "beta", rho, 1 - truth, sizes, repeats)
    case = {"signs": signs, "limit": limit, "truth": truth, "rho": rho}
    return {**case, **pass_rates(wrong, sizes, 1 - limit)}


def highest(cases: list[dict]) -> dict:
    """The highest pass rates of some cases at the limit."""
    return {key: max(case[key] for case in cases) for key in ("pass_ours", "pass_one_pseudo_sign")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2000)
    repeats = parser.parse_args().repeats
    cases = [
        one_case(kind, signs, rate, model, rho, repeats)
        for kind in ("equal", "5 to 55", "lognormal")
        for signs in SIGNS
        for rate in ERROR_RATES
        for model, rho in CORRELATIONS
    ]
    cases += [
        one_case(kind, signs, rate, "whole", share, repeats)
        for kind in ("equal", "5 to 55", "lognormal")
        for signs in WHOLE_SIGNS
        for rate in WHOLE_ERROR_RATES
        for share in WHOLE_SHARES
    ]
    hazard = [
        case
        for signs in (100, 200, 421, 1000)
        for limit in (0.01, 0.02, 0.05)
        for share in (0.2, 0.3, 0.4, 0.5)
        for cost in (0.1, 0.3)
        if (case := hazard_case(signs, limit, share, cost, repeats)) is not None
    ]
    long = [
        long_case(signs, rate, spread, repeats)
        for signs in (100, 420, 2000)
        for rate in (0.4, 0.10, 0.05, 0.02)
        for spread in (0.5, 0.8, 1.1)
    ]
    power = [power_case(*setting, repeats) for setting in POWER]
    summary = {"hazard": highest(hazard), "long": highest(long)}
    for name in ("ours", "plain", "declared"):
        worst = max(cases, key=lambda case: case[f"pass_{name}"])
        summary[name] = {
            "highest_pass_rate": worst[f"pass_{name}"],
            "there": {key: worst[key] for key in ("sizes", "signs", "limit", "errors", "rho")},
            "share_of_cases_above_5_percent": float(np.mean([case[f"pass_{name}"] > 0.05 for case in cases])),
            "mean_width_ratio_by_rho": {
                str(rho): round(
                    float(
                        np.mean(
                            [
                                case[f"width_{name}"]
                                for case in cases
                                if case["rho"] == rho and case["errors"] != "whole"
                            ]
                        )
                    ),
                    3,
                )
                for rho in (0.0, 0.2, 0.5, 0.9, 1.0)
            },
        }
    rounded = [{key: round(x, 4) if isinstance(x, float) else x for key, x in case.items()} for case in cases]
    RESULTS.parent.mkdir(exist_ok=True)
    document = {
        "repeats": repeats,
        "frames": FRAMES,
        "nominal": 1 - TAIL,
        "summary": summary,
        "hazard": hazard,
        "long": long,
        "power": power,
        "cases": rounded,
    }
    RESULTS.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
