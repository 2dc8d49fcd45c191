"""The section `model` of a config: the ranker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from mmrank.ranges import Count, Dropped, Kept, Range, Whole

NETWORK, HYBRID, TREES, STACKED = MODELS = ("network", "hybrid", "trees", "stacked")
PLAIN, VECTORS = READS = ("plain", "vectors")  # inputs of the trees of a hybrid ranker
MOST_DEPTH = 10  # of trees: each further level doubles their leaves


@dataclasses.dataclass(frozen=True)
class Fusion:
    """The fusion that combines an item's modalities into one vector: its name and options."""

    name: str = "concat"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Head:
    """The listwise head.

    Attributes:
      hidden: Widths of the hidden layers of the scoring tower.
      dropout: Share of units dropped in training.
      rank_model: How the score of a candidate depends on the others in its list: none, attention,
        gru or attention_gru. Null means attention if `attention_layers` is above 0, else none.
      attention_layers: Layers of attention across the candidates; null means 1 if the rank model
        has attention.
      attention_heads, attention_width: Heads and width of that attention.
      gru_units: Width of the GRU that reads the candidates in the order of their initial scores.
      gru_top: How many of the best candidates the GRU reads; null for all. The others keep their
        initial scores.
      gru_bidirectional: Whether a second GRU reads in the opposite order.
      members: Number of parallel scoring towers; the score is the mean of theirs, as of an ensemble
        of seeds in one network. Requires a single score, and no GRU or cross-encoder.
      sharing: What the members share: `none`, nothing, each has its own weights; `batch_ensemble`,
        the weights of the hidden layers, which each member adapts by scales; or `first_adapter`,
        the same with scales before the first layer only.
      linear: Whether a linear function of the candidate's vector is added to each tower's score.
    """

    hidden: tuple[Count, ...] = (128, 64)
    dropout: Dropped = 0.1
    rank_model: str | None = None
    attention_layers: Whole | None = None
    attention_heads: Count = 2
    attention_width: Count = 64
    gru_units: Count = 64
    gru_top: Count | None = None
    gru_bidirectional: bool = False
    members: Count = 1
    sharing: str = "none"
    linear: bool = False


@dataclasses.dataclass(frozen=True)
class Trees:
    """Gradient-boosted trees over match features and numbers: hybrid, alone or stacked.

    Trees learn from the training lists. Loss, depth, rounds and the weight of the trees in a hybrid
    score are chosen by the validation lists.

    Attributes:
      losses: CatBoost's names of losses to try: YetiRank, QueryRMSE, RMSE, LambdaMart, ...
      depths: Depths to try.
      rounds: Maximum number of trees.
      learning_rate: Factor on each tree's output (shrinkage).
      patience: Rounds without a better NDCG@10 on the validation lists before growing stops.
      reads: Inputs of the trees: `plain`, match features and numbers; and `vectors`, the trained
        network's vector of each candidate that its head reads (hybrid).
      folds: Number of parts of the training lists; one forest is grown without each part (stacked).
    """

    losses: tuple[str, ...] = ("QueryRMSE", "YetiRank")
    depths: tuple[Annotated[int, Range(1, MOST_DEPTH)], ...] = (6,)
    rounds: Count = 500
    learning_rate: Kept = 0.05
    patience: Count = 50
    reads: tuple[str, ...] = (PLAIN,)
    folds: Annotated[int, Range(2, 20)] = 5


@dataclasses.dataclass(frozen=True)
class Multitask:
    """The way in which several tasks share the scoring tower: its name and options."""

    name: str = "shared_bottom"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Cross:
    """A cross-encoder: one BERT that reads the query and a candidate's texts together.

    Attributes:
      weights: Hugging Face folder with the BERT's initial weights and its vocabulary; `none` for
        random initial weights.
      query: The query feature that is read.
      fields: Item features that are read, in this order, with the maximum number of tokens of each.
      query_tokens: Maximum number of tokens of the query.
      vocabulary_size, layers, heads, hidden, intermediate: Size of a BERT with random initial
        weights.
      rescore: How many of the best candidates of a list it reads when it ranks; null for all. In
        training it reads all candidates.
      alone: Whether its score is the only one, without towers and match features.
      trainable: Whether the BERT learns.
      sub_batch: Pairs that go through the BERT at a time.
      recompute: Whether training computes a sub-batch a second time for its gradient instead of
        keeping the BERT's intermediate results: a third more work, and memory for one sub-batch
        only.
    """

    weights: str = "none"
    query: str = "query"
    fields: Mapping[str, Count] = dataclasses.field(default_factory=dict)
    query_tokens: Count = 16
    vocabulary_size: Count = 8000
    layers: Count = 2
    heads: Count = 4
    hidden: Count = 128
    intermediate: Count = 256
    rescore: Count | None = None
    alone: bool = False
    trainable: bool = True
    sub_batch: Count = 64
    recompute: bool = True


@dataclasses.dataclass(frozen=True)
class Model:
    """The ranker.

    Attributes:
      name: `network`; `hybrid`, the network and trees; `trees` alone, which need only match
        features to be fitted first; or `stacked`, a network that reads the score of trees grown
        before it is trained.
      width: Width D of every modality embedding.
      encoders: Options by feature name, or by kind for all features of a kind.
      drop: Features left out of the model, for comparisons.
      modality_dropout: Probability that training hides a modality of an item, by feature name. The
        ranker learns to rank without that modality and to rely more on the others.
      match: Whether queries and candidates are also compared directly, by words, numbers, names and
        the vectors of encoders that both share: `auto`, as far as the schema has such features, or
        `none`.
      match_extra: Further match features, by name: `spelling`, words that the catalogue spells
        differently; `category`, the candidate's category against those likely for the query's
        words; `number`, the candidate's number, such as a price, against what is usual for the
        query's words.
      cross: A cross-encoder in addition to the towers, or instead of them; null for none.
      fusion, head, trees, multitask: See these classes; `multitask` applies to several tasks only.
      order: Formula that combines several tasks into one score, over their names, such as
        `click^0.3 * purchase^0.7`.
    """

    name: str = NETWORK
    width: Count = 64
    encoders: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    drop: tuple[str, ...] = ()
    modality_dropout: Mapping[str, Dropped] = dataclasses.field(default_factory=dict)
    match: str = "auto"
    match_extra: tuple[str, ...] = ()
    cross: Cross | None = None
    fusion: Fusion = Fusion()
    head: Head = Head()
    trees: Trees = Trees()
    multitask: Multitask = Multitask()
    order: str | None = None
