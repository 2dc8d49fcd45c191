"""Commands that prepare datasets, compare models and run benchmarks: `python -m pipelines.NAME`."""
