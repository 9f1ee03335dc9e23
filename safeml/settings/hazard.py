"""The settings of what a mistake may cost."""

from __future__ import annotations

from safeml.settings.base import PathText, Settings


class HazardSettings(Settings):
    """The cost of confusions.

    costs: CSV file with the columns true, predicted and cost, 0..1; empty: the rules for the signs of GTSRB, and a cost of 1
        for every mistake between other classes.
    """

    costs: PathText = ""
