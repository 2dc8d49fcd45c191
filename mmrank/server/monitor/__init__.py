"""What the server tells of itself: metrics, drift of requests, and logs with a request id."""
