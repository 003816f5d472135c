"""Tests of `quant_pipeline.exporters`."""
