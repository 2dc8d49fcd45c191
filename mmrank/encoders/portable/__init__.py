"""Texts normalised and split into word pieces by TensorFlow's own ops alone."""
