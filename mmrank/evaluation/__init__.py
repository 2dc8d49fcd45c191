"""Offline evaluation: metrics with intervals, baselines, paired tests and slices. No TensorFlow."""
