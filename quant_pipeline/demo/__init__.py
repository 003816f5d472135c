"""The demo: the whole graph of both markets from nothing, and the history that a new desk starts with. No trading rules."""
