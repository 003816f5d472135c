"""Stored data into files that other programs read. Nothing is computed here."""
