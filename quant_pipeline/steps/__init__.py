"""What each step of the flow does: read, one core call, write, numbers. No dagster here: assets only wrap these.

They are apart from the assets so that the demo, restatements, re-derivation and tests run the very same step
without a Dagster run around it.
"""
