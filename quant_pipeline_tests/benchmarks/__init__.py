"""Measurements, each a command of its own. Nothing here runs with the tests."""
