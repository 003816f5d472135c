"""The pure domain: values, indicators, features, strategies, models, decision, risk, fills.

Here belongs what needs neither a clock nor I/O. No dagster, no mlflow, no network, no files, no `now()`.
"""
