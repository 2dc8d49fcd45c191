"""Training from DataFrames: no file of the caller's is needed, and the same job runs."""
