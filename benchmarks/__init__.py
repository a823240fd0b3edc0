"""Benchmarks: programs that measure. From the root of a clone: `python -m benchmarks.NAME`."""
