"""Alpaca's dialect: trading API v2 and market data v2 for stocks, as the untouched alpaca-py speaks them."""
