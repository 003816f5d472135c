"""Tests of quant_pipeline.runtime."""
