"""Benchmarks: measured on the machine they run on, each with a verdict."""
