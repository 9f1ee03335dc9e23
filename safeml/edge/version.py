"""The version of the edge runtime, which a bundle may require (`runtime` of its manifest)."""

VERSION = "1.0.0"
