"""Requests that a server has to refuse, by the dozen."""
