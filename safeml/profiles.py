"""The three profiles of a run: how much of each stage is measured, and whether their gates decide.

full measures what the settings ask for. standard takes fewer images where each image is expensive, and changes nothing else: the
interval of each number carries the smaller sample, so a gate that passes is proven. quick also takes fewer steps and threats, so that a
model can look better than it is: it proves nothing unless the user accepts that.
"""

from __future__ import annotations

from typing import Literal, get_args

Profile = Literal["full", "standard", "quick"]
PROFILES: tuple[Profile, ...] = get_args(Profile)
FULL = "full"
PROVING = frozenset({"full", "standard"})


def proves(profile: str, accept_quick: bool) -> bool:
    """Return whether the gates of a run decide; a profile that this version does not know proves nothing."""
    return profile in PROVING or accept_quick
