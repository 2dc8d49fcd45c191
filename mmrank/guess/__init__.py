"""A schema for a folder that nobody described, by looking at its tables, with reasons."""
