"""Tests of quant_pipeline.core.indicators."""
