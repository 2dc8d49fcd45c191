"""Losses, metrics and heads over lists, from TF-Ranking."""
