"""Alpaca through alpaca-py as it is, with our own timeouts, limits and errors; it is imported only when used."""
