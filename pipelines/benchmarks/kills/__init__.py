"""Kills exports, copies, servers and jobs by SIGKILL, and observes what is served meanwhile."""
