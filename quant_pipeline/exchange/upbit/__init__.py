"""Upbit's dialect: quotation and exchange API v1, as the untouched upbit-sdk and pyupbit speak them."""
