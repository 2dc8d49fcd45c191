"""Scores from who did what with which item, as of the time of each list."""
