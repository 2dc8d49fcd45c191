"""Image towers from files of other libraries: read without running them, built in Keras."""
