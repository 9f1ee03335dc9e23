"""The version of the edge runtime, which a bundle may require (`runtime` of its manifest)."""

VERSION = "0.1.0"
