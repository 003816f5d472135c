"""Tests mirror the package; `e2e`, `faults` and `benchmarks` cut across it."""
