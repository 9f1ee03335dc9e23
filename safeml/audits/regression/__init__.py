"""The stage *regression error*."""
