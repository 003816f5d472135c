"""Tests of quant_pipeline.core.strategies."""
