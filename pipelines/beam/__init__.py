"""What the Beam jobs share: reading tables in pieces, joining by hash, writing shards."""

import logging

# Beam says at import that Google's clients are missing, which Dataflow alone needs.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
