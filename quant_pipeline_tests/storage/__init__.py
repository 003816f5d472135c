"""Tests of quant_pipeline.storage."""
