"""Tests of `quant_pipeline.charts`."""
