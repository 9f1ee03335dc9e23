"""The stage *comparison*."""
