"""Thin assets: read the partition keys, run one step, report numbers. What a step does belongs to `steps`."""
