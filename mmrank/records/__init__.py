"""Training lists in TFRecord shards, for what outgrows the tables of one machine."""
