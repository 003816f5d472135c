"""Tests of the command line and of the desk's Dagster instance."""
