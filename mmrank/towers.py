"""The towers of a ranker: raw features of items, and of query and user, → tokens.

Encoding is a separate step of both, so that query photos and the item photos they are compared with
can be encoded in one batch while the network is trained.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import tensorflow as tf

from mmrank.encoders.tokens import InOneBatch, ModalityDropout, ModalityTokens, PresentOnly
from mmrank.matching.plan import terms_name
from mmrank.matching.rows import UnitVectors

MASK, MATCH = "mask", "match"
Tensors = dict[str, tf.Tensor]


@dataclasses.dataclass(frozen=True)
class FeatureEncoder:
    """One feature as the model reads it.

    Attributes:
      name: Name of the feature and of its input; `NAME_present` is the presence input.
      side: item, query, user or pair.
      spec: Shape (first dimension None) and dtype of its input.
      encoder: Layer [N, ...] → [N, D']; features may share one.
      hide: Probability that training hides an item's present value.
      plain: Inputs [...] → numbers [...] or [..., K] that trees read; None if trees cannot read it.
      unnormed: Whether its token keeps the length that the encoder gave it.
      space: The id of the vector space of the encoder: the vectors of two encoders with the same id
        can be compared. Empty for an encoder whose vectors are compared with no other encoder's.
    """

    name: str
    side: str
    spec: tf.TensorSpec
    encoder: tf.keras.layers.Layer
    hide: float = 0.0
    plain: Callable[[tf.Tensor], tf.Tensor] | None = None
    unnormed: bool = False
    space: str = ""


def present_name(feature: str) -> str:
    """The name of a feature's presence input."""
    return f"{feature}_present"


def unnormed_names(features: Sequence[FeatureEncoder]) -> tuple[str, ...]:
    """The names of the features whose tokens have no layer norm."""
    return tuple(f.name for f in features if f.unnormed)


def inputs_of(feature: FeatureEncoder, lead: tuple[None, ...] = ()) -> Tensors:
    """The inputs of one feature by name: its value and its presence."""
    shape = (*lead, *feature.spec.shape[1:])
    flag = present_name(feature.name)
    return {
        feature.name: tf.keras.Input(shape, dtype=feature.spec.dtype, name=feature.name),
        flag: tf.keras.Input(lead, dtype=tf.bool, name=flag),
    }


class Encoders:
    """The encoders of a ranker, each applied to present rows only; a shared one is one layer."""

    def __init__(self) -> None:
        self._wrapped: dict[int, PresentOnly] = {}

    def of(self, feature: FeatureEncoder) -> PresentOnly:
        """The layer of a feature: (values [N, ...], present [N]) → embeddings [N, D']."""
        key = id(feature.encoder)
        if key not in self._wrapped:
            name = f"{feature.encoder.name}_present"
            self._wrapped[key] = PresentOnly(feature.encoder, name=name)
        return self._wrapped[key]

    def apart(
        self, features: Sequence[FeatureEncoder], inputs: Tensors, presence: Tensors
    ) -> Tensors:
        """Embeddings by feature, each feature encoded separately."""
        return {f.name: self.of(f)((inputs[f.name], presence[f.name])) for f in features}

    def together(
        self, features: Sequence[FeatureEncoder], inputs: Tensors, presence: Tensors
    ) -> Tensors:
        """Embeddings by feature; those that share an encoder with batch statistics in one batch."""
        embeddings: Tensors = {}
        for sharing in _by_encoder(features):
            if len(sharing) == 1 or not _takes_batch_statistics(sharing[0].encoder):
                embeddings |= self.apart(sharing, inputs, presence)
                continue
            encoder = self.of(sharing[0])
            both = InOneBatch(encoder, name=f"{encoder.name}_in_one_batch")
            values = [inputs[f.name] for f in sharing]
            encoded = both((values, [presence[f.name] for f in sharing]))
            embeddings |= {f.name: e for f, e in zip(sharing, encoded, strict=True)}
        return embeddings


def share_batch_statistics(one: Sequence[FeatureEncoder], other: Sequence[FeatureEncoder]) -> bool:
    """Whether features of two towers share an encoder that has BatchNormalization."""
    shared = {id(f.encoder) for f in one} & {id(f.encoder) for f in other}
    return any(_takes_batch_statistics(f.encoder) for f in one if id(f.encoder) in shared)


def _by_encoder(features: Sequence[FeatureEncoder]) -> list[list[FeatureEncoder]]:
    groups: dict[int, list[FeatureEncoder]] = {}
    for feature in features:
        groups.setdefault(id(feature.encoder), []).append(feature)
    return list(groups.values())


def _takes_batch_statistics(encoder: tf.keras.layers.Layer) -> bool:
    norm = tf.keras.layers.BatchNormalization
    return any(isinstance(layer, norm) for layer in encoder._flatten_layers())


@dataclasses.dataclass(frozen=True)
class MatchParts:
    """What a tower provides in addition to tokens, for matching queries and candidates.

    Attributes:
      terms: Width of the rows of terms by feature, in their order in a row.
      vectors: Features whose encoders' own vectors follow.
      numbers: Features that trees read: their numbers, and whether these are present, come last.
    """

    terms: Mapping[str, int] = dataclasses.field(default_factory=dict)
    vectors: Sequence[str] = ()
    numbers: Sequence[str] = ()

    def inputs(self) -> Tensors:
        """The inputs with terms, by name."""
        return {
            terms_name(n): tf.keras.Input((width,), dtype=tf.float32, name=terms_name(n))
            for n, width in self.terms.items()
        }

    def rows(
        self,
        features: Sequence[FeatureEncoder],
        inputs: Tensors,
        embeddings: Tensors,
        presence: Tensors,
    ) -> Tensors:
        """`match`: rows [N, W] float32, zeros for what is absent; an empty mapping if W is 0."""
        plain = {f.name: f.plain(inputs[f.name]) for f in features if f.plain is not None}
        parts = [tf.where(presence[n][:, None], inputs[terms_name(n)], 0.0) for n in self.terms]
        parts += [UnitVectors()((embeddings[n], presence[n])) for n in self.vectors]
        parts += [flagged(plain[n], presence[n]) for n in self.numbers]
        return {MATCH: tf.concat(parts, -1)} if parts else {}


def flagged(values: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """Numbers [..., n + 1] float32: values [...] or [..., n], 0 where absent, then 1 where present.

    Args:
      values: Of any dtype.
      present: [...] bool.
    """
    if values.shape.rank == present.shape.rank:
        values = values[..., None]
    here = present[..., None]
    shown = tf.where(here, tf.cast(values, tf.float32), 0.0)
    return tf.concat([shown, tf.cast(here, tf.float32)], -1)


class ItemTower:
    """Item features [U, ...] → tokens [U, M, D] and present [U, M], possibly match [U, W].

    Args:
      features: Those of side item, in the order of the tokens.
      width: D.
      match: The inputs of matching.

    Attributes:
      widths: Widths of the encoders' vectors by feature, known once the tower has been built.
    """

    def __init__(
        self, features: Sequence[FeatureEncoder], width: int, match: MatchParts | None = None
    ):
        self.features, self._match = features, match or MatchParts()
        self.widths: dict[str, int] = {}
        names = tuple(f.name for f in features)
        self._tokens = ModalityTokens(names, width, unnormed_names(features), name="item_tokens")
        self._dropout: ModalityDropout | None = None
        if any(f.hide for f in features):
            self._dropout = ModalityDropout([f.hide for f in features], name="modality_dropout")

    def shown(self, inputs: Tensors) -> tuple[tf.Tensor, Tensors]:
        """Presence [U, M], and by feature [U], after training has hidden some values."""
        names = [f.name for f in self.features]
        presence = [inputs[present_name(name)] for name in names]
        present = tf.stack(presence, axis=-1)
        if self._dropout is not None:
            present = self._dropout(present)
            presence = tf.unstack(present, axis=-1)
        return present, dict(zip(names, presence, strict=True))

    def outputs(
        self, inputs: Tensors, embeddings: Tensors, present: tf.Tensor, presence: Tensors
    ) -> Tensors:
        """Tokens, present and possibly match by name, given embeddings and presence."""
        names = [f.name for f in self.features]
        self.widths = {n: int(embeddings[n].shape[-1]) for n in names}
        tokens = self._tokens(([embeddings[n] for n in names], [presence[n] for n in names]))
        match = self._match.rows(self.features, inputs, embeddings, presence)
        return {"tokens": tokens, "present": present, **match}

    def model(self, encoders: Encoders) -> tf.keras.Model:
        """The tower as a model of its own inputs."""
        inputs = self._match.inputs()
        for feature in self.features:
            inputs |= inputs_of(feature)
        present, presence = self.shown(inputs)
        embeddings = encoders.apart(self.features, inputs, presence)
        outputs = self.outputs(inputs, embeddings, present, presence)
        return tf.keras.Model(inputs, outputs, name="item_tower")


class ContextTower:
    """Features of query and user [B, ...] → contexts [B, C, D] and present [B, C].

    The query and the user have one context each if they have features; without any features there
    is one context of zeros that is absent. Possibly a further output is match [B, V].

    Args:
      sides: The features of each side.
      width: D.
      match: The inputs of matching.

    Attributes:
      widths: As of `ItemTower`.
    """

    def __init__(
        self,
        sides: Mapping[str, Sequence[FeatureEncoder]],
        width: int,
        match: MatchParts | None = None,
    ):
        self._match = match or MatchParts()
        self.widths: dict[str, int] = {}
        self._sides = {side: features for side, features in sides.items() if features}
        self.features = [f for features in self._sides.values() for f in features]
        self._width = width
        self._tokens = {
            side: ModalityTokens(
                tuple(f.name for f in features),
                width,
                unnormed_names(features),
                name=f"{side}_tokens",
            )
            for side, features in self._sides.items()
        }
        self._means = {side: PresentMean(name=f"{side}_mean") for side in self._sides}

    def shown(self, inputs: Tensors) -> Tensors:
        """Presence [B] by feature."""
        return {f.name: inputs[present_name(f.name)] for f in self.features}

    def outputs(self, inputs: Tensors, embeddings: Tensors, presence: Tensors) -> Tensors:
        """Contexts, present and possibly match by name, given the features' embeddings."""
        mask = inputs[MASK]  # [B, L], which every batch of lists has
        self.widths = {f.name: int(embeddings[f.name].shape[-1]) for f in self.features}
        contexts, present = [], []
        for side, features in self._sides.items():
            here = [presence[f.name] for f in features]
            tokens = self._tokens[side](([embeddings[f.name] for f in features], here))
            contexts.append(self._means[side]((tokens, tf.stack(here, -1))))
            present.append(tf.reduce_any(tf.stack(here, -1), -1))
        if not contexts:
            # Broadcast rather than tiled, since the width must stay known.
            contexts.append(tf.zeros_like(mask[:, :1], tf.float32) + tf.zeros([1, self._width]))
            present.append(tf.zeros_like(mask[:, 0]))
        match = self._match.rows(self.features, inputs, embeddings, presence)
        return {"contexts": tf.stack(contexts, 1), "present": tf.stack(present, 1), **match}

    def model(self, encoders: Encoders) -> tf.keras.Model:
        """The tower as a model of its own inputs."""
        # The mask gives a tower without features its batch size.
        inputs = {MASK: tf.keras.Input((None,), dtype=tf.bool, name=MASK)} | self._match.inputs()
        for feature in self.features:
            inputs |= inputs_of(feature)
        presence = self.shown(inputs)
        embeddings = encoders.apart(self.features, inputs, presence)
        outputs = self.outputs(inputs, embeddings, presence)
        return tf.keras.Model(inputs, outputs, name="context_tower")


class PresentMean(tf.keras.layers.Layer):
    """Means [B, D] over the present ones of tokens [B, M, D]; over all if none is present."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        tokens, present = inputs
        used = present | ~tf.reduce_any(present, -1, keepdims=True)
        weight = tf.cast(used, tokens.dtype)[..., None]
        return tf.reduce_sum(tokens * weight, 1) / tf.reduce_sum(weight, 1)


def tower_outputs(
    item: ItemTower, context: ContextTower, encoders: Encoders, inputs: Tensors
) -> tuple[Tensors, Tensors]:
    """The outputs of both towers for one set of inputs; shared BatchNormalization runs once.

    BatchNormalization normalises by the statistics of a batch in training, and by their moving
    averages otherwise. If the photos of queries and those of items were two batches, training would
    normalise each by its own statistics, and serving by a mixture that fits neither.
    """
    present, presence = item.shown(inputs)
    asked = context.shown(inputs)
    embeddings = encoders.together([*item.features, *context.features], inputs, presence | asked)
    return (
        item.outputs(inputs, embeddings, present, presence),
        context.outputs(inputs, embeddings, asked),
    )
