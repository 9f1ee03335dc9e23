"""Whether an attack on survivors that breaks none of them proves anything.

With few survivors or few queries it proves nothing, and its check is *not proven*. Few survivors because the attacks before
broke most images are an exception: these successes show that the gradient is of use.
"""

from __future__ import annotations

from safeml.audits.adversarial.evidence import LEAST_SURVIVORS, Evidence
from safeml.statistics.exact import clopper_pearson
from safeml.wording import counted

# Fewer queries for each survivor prove nothing.
LEAST_QUERIES = 200
# White-box attacks that break more than this share, at 95 % confidence, show that the gradient is of use.
MOST_BROKEN = 0.5


def without_power(evidence: Evidence, survivors: int, attacked: int, queries: int | None = None) -> str:
    """Say why an attack on survivors that breaks none of them proves nothing, or ""."""
    if broke_most(evidence, survivors):
        return ""
    if attacked < LEAST_SURVIVORS:
        return f"{counted(attacked, 'survivor')} attacked, and at least {LEAST_SURVIVORS} are needed"
    if queries is not None and queries < LEAST_QUERIES:
        return f"{counted(queries, 'query', 'queries')} per image, and at least {LEAST_QUERIES} are needed"
    return ""


def broke_most(evidence: Evidence, survivors: int) -> bool:
    """Whether the attacks before a check broke most images beyond sampling error (lower Clopper-Pearson end)."""
    right = int(evidence.clean.right.sum())
    broken = right - survivors
    return right > 0 and clopper_pearson(broken / right, right)[0] > MOST_BROKEN


def evidence_of_gradients(evidence: Evidence, survivors: int) -> str:
    """Name what stands in for many survivors: the successes of the white-box attacks."""
    right = int(evidence.clean.right.sum())
    if survivors >= LEAST_SURVIVORS or not broke_most(evidence, survivors):
        return ""
    return f"; few survive because the attacks before broke {right - survivors} of {counted(right, 'image')}"
