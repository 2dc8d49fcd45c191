"""Many kinds of requests that a server must refuse."""
