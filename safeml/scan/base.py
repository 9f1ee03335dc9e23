"""What a scanner of one format says: facts, or that the file is refused, or that it could not be judged."""

from __future__ import annotations

Facts = dict[str, int | str]
"""What was counted in an accepted file, in the words of the report: {"layers": 12, "parameters": 164459, ...}."""


class Refused(Exception):
    """The file holds something that is not on the allow-list, or is damaged.

    The message goes on after the file's name and a colon: 'config.json: layers[1] is a Lambda; expected ...'.
    """


class Inconclusive(Exception):
    """A bound of the analysis was reached, or the analysis failed: the file is not known to be bad, and never treated as clean."""
