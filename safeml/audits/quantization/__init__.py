"""The stage *quantization*."""
