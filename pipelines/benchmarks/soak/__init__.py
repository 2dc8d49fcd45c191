"""A server under sustained load: its processes, its requests, and what is measured."""
