"""Reading a shop's data: tables, media, text and batches."""
