"""TF-Ranking, imported here and nowhere else."""

import tensorflow_ranking

losses = tensorflow_ranking.keras.losses
metrics = tensorflow_ranking.keras.metrics
layers = tensorflow_ranking.keras.layers
parse_from_example_list = tensorflow_ranking.data.parse_from_example_list
models = tensorflow_ranking.keras.model
