"""Tests of the trading kernel and its typed doors."""
