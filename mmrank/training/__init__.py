"""Training: strategy, optimizer, callbacks and the loop."""
