"""Learning and applying an ensemble of boosted trees: pure functions from arrays to bytes and from bytes to opinions.

Nothing here reads a clock, a file, a database or MLflow; `lightgbm` and `xgboost` are imported inside functions only.
"""
