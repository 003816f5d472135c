"""Tests of quant_pipeline.core.identity."""
