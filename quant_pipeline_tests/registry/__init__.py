"""Tests of quant_pipeline.registry."""
