"""Exports, copies, servers and jobs killed by SIGKILL, and what is served meanwhile."""
