"""Tests of `quant_pipeline.exchange`."""
