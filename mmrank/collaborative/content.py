"""Item factors predicted from the items' content, for items that few users have met."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from mmrank.collaborative.als import AlternatingLeastSquares
from mmrank.data.content import content_bags
from mmrank.data.tables import Dataset

TOPICS = 128
TRUST = 3.0
PENALTIES = np.logspace(-2, 3, 6)


class ContentFactors(AlternatingLeastSquares):
    """Factors of `als`, mixed with factors predicted from content for items that few users met.

    The mix is (n · own + 3 · predicted) / (n + 3) for an item that n users met: an item without an
    event has the predicted factors, which matter little for an item with many users.

    Source: the map from attributes to factors: Gantner et al. 2010, "Learning attribute-to-feature
      mappings for cold-start recommendations", with a ridge regression as the map.

    Example:
      >>> import numpy as np
      >>> import scipy.sparse as sp
      >>> from mmrank.collaborative import CollaborativeOptions
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> scorer = ContentFactors(CollaborativeOptions(factors=4))
      >>> scorer.know(load_dataset("shop"))
      >>> scorer.fit(sp.csr_matrix(np.eye(5, 60)))  # each of five users met one item
      >>> scorer.factors.shape, bool(scorer.factors[59].any())  # no event has item 59
      ((60, 4), True)
    """

    scores_new_items = True

    def know(self, dataset: Dataset) -> None:
        bags, _ = content_bags(dataset)
        self._content = topics(bags, self.options.seed)

    def fit(self, matrix: sp.csr_matrix) -> None:
        super().fit(matrix)
        met = np.asarray((matrix > 0).sum(0)).ravel()
        self.factors = with_predicted(self.factors, met, self._content)


def topics(bags: sp.csr_matrix, seed: int) -> np.ndarray:
    """The content of items in a few numbers, [items, topics] float64.

    Args:
      bags: Words of items, [items, words].
      seed: Seed of the decomposition.

    Source: latent semantic analysis, Deerwester et al. 1990: a truncated SVD of tf-idf.
    """
    count = min(TOPICS, min(bags.shape) - 1)
    if count < 1:
        return bags.toarray().astype(np.float64)
    # Slow to import, and a server needs no part of it.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(bags)
    return TruncatedSVD(count, random_state=seed).fit_transform(weighed)


def with_predicted(factors: np.ndarray, met: np.ndarray, content: np.ndarray) -> np.ndarray:
    """The factors [items, F] float32 of all items, mixed with predicted ones.

    The prediction is a ridge regression from content to factors over all items that any user met;
    leave-one-out validation chooses its penalty. Rarely met items, whose factors are small, are
    included; otherwise the predicted factors would be those of a popular item. If there are fewer
    such items than factors, or as many, the factors stay unchanged.

    Args:
      factors: [items, F].
      met: How many users met each item, [items].
      content: [items, topics].
    """
    known = met > 0
    if known.sum() <= factors.shape[1]:
        return factors
    from sklearn.linear_model import RidgeCV  # slow to import

    ridge = RidgeCV(alphas=PENALTIES).fit(content[known], factors[known])
    predicted = ridge.predict(content).reshape(factors.shape)
    own = (met / (met + TRUST))[:, None]
    return (own * factors + (1.0 - own) * predicted).astype(np.float32)
