"""Short jobs around the package: prepare a dataset, measure throughput. Run with `python -m`."""
