"""How well a query and a candidate match: word for word, number for number, vector by vector.

The way of a match: `words` splits a text, `quantities` reads its numbers and units, `terms` packs
both into one row of numbers for each text, `text_features` compares two such rows, `matcher` is the
layer over all fields of a candidate, and `plan` is what is fitted on a catalogue. Rows are made of
raw texts by TensorFlow ops alone, ahead of the request for stored items and within the graph for
others, so that training, evaluation and an export give the same numbers.
"""
