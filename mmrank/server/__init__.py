"""The local server: TensorFlow Serving's API, a friendly /rank, and what guards and watches it."""
