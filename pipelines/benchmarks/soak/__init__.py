"""A server under sustained load: its processes, its requests, and the measurements."""
