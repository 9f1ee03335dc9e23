"""Adversarial robustness: attacks, certificates and masking checks on pixel perturbations."""
