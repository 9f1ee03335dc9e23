"""The table `[sign]`: who signs the report."""

from __future__ import annotations

from safeml.settings.base import PathText, Settings


class SignSettings(Settings):
    """The key that signs each report that `safeml audit` and `safeml run` write, whatever the verdict.

    key: the private key, an encrypted PEM file of `safeml keys new`; "" signs nothing.
    """

    key: PathText = ""
