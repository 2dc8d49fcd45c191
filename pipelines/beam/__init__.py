"""Code that Beam jobs share: reading tables in pieces, joining by hash, writing shards."""

import logging

# Beam logs at import that Google's clients are missing, which only Dataflow needs.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
