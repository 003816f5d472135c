"""The simulated exchange: a server that speaks Alpaca's and Upbit's wire formats, with a clock and rules one can steer.

It stands apart: it imports `core` and `markets` only, and nothing of the desk imports it except to start it.
"""
