"""Who may ask what of the server, how much of it, and the record of who did."""
