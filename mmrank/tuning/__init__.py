"""A search over settings: a space of them, trials of their own processes, and what came of them."""
