"""The attacks that follow failed gradient-masking checks."""

from __future__ import annotations

import numpy as np

from safeml.audits.adversarial.campaign import Campaign
from safeml.audits.adversarial.check import MaskingCheck
from safeml.audits.adversarial.spending import MASKED

# Factor on the steps where a failed check names no view of the model but more steps.
MORE_STEPS = 4


def attack_again(campaign: Campaign, checks: list[MaskingCheck]) -> list[str]:
    """Attack the survivors again with the views of the failed checks; return these views.

    A view restores a useful gradient. Its adversarial examples are evaluated on the model itself.
    """
    views = sorted({check.view for check in checks if check.failed})
    full = [threat for threat in campaign.settings.threats if campaign.settings.is_full(threat)]
    if views:
        for threat in full:
            campaign.pay_in_full(threat, MASKED)
    for view in views:
        for threat in full:
            for name in ("apgd_ce", "apgd_t"):
                survivors = np.flatnonzero(campaign.survivors(threat))
                campaign.attack(name, threat, survivors, view, harder=1 if view else MORE_STEPS)
    if views and "square" not in campaign.settings.attacks:
        for threat in full:
            campaign.attack("square", threat, np.flatnonzero(campaign.survivors(threat)))
    return views
