"""The trained ranker as a SavedModel that stands alone, and its use from Python."""
