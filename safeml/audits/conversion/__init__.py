"""The stage *conversion*."""
