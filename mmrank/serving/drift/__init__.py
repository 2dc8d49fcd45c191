"""Whether requests look like the training data: population stability by feature."""
