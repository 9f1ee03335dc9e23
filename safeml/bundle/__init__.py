"""Bundles: what goes to a device, built and signed on the host. The format, and all that reads it, is `safeml.edge`."""
