"""Codes learned without labels: autoencoders over sparse rows of items' words or users' events."""
