"""Model versions with a history: tuning studies, MLflow, and which version serves when.

What a model is and how it is trained belongs to `core.models`; the tables and the lake to `storage`.
"""
