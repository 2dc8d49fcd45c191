"""Where the vectors of encoded items come from at request time: an export's table, or Redis."""
