"""Smaller rankers: stored item tokens of fewer bits, and weights pruned, clustered or quantised."""
