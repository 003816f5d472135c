"""Tests of quant_pipeline.importers.formats."""
