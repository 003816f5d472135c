"""Tests of `quant_pipeline.venues`."""
