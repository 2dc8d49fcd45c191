"""Benchmarks that measure on the local machine and print a verdict."""
