"""The table `[baseline]`: how a model is compared with the run that `--baseline` names."""

from __future__ import annotations

from pydantic import Field

from safeml.settings.base import Settings


class BaselineSettings(Settings):
    """How gates with `subject = "baseline"` measure the loss against the run that `--baseline` names.

    largest_loss: largest share of its frames that a sign track may lose net. 1 assumes nothing; a smaller share is your
        assumption, which the report names, and needs fewer sign tracks.
    """

    largest_loss: float = Field(default=1.0, gt=0, le=1)
