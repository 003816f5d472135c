"""Tests of what happens after bars of the past changed: which runs are asked for, and what they come to."""
