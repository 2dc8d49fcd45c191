"""Gradient-boosted trees: grown by CatBoost, kept as arrays, run as TensorFlow ops."""
