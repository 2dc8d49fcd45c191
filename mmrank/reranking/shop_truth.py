"""What users of a simulated shop do with its products in truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import scipy.stats
import yaml

from mmrank.config import from_mapping
from mmrank.data.simulator.clicks import ClickModel
from mmrank.data.simulator.world import ATTRIBUTES
from mmrank.data.simulator.write import SIMULATION_FILE
from mmrank.data.tables import DataError, Dataset
from mmrank.reranking.page import Page

__all__ = ["ShopTruth"]

TRUTH_FILE = "truth.parquet"
SATISFIED = 30.0  # seconds on a clicked item, from which on a visit counts as satisfied


class ShopTruth:
    """Pages of a simulated shop as its users know them. Make one with `ShopTruth.of`.

    The true grade of a product for a query and user says how likely it is to be clicked and bought
    and how long users stay, by the shop's own click model; two products are as alike as the share
    of attributes that they have in common. What an order does with that is up to a user model.

    Args:
      model: The shop's click model.
      vectors: Unit vectors of the items of its catalogue, [items, d].
      price: Their prices, [items].

    Example:
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> dataset = load_dataset("shop")
      >>> truth = ShopTruth.of(dataset)
      >>> rows = dataset.lists.iloc[:3].assign(grade=[0, 1, 3])
      >>> truth.page(rows, np.zeros(3)).attraction.round(2).tolist()
      [0.08, 0.21, 1.0]
    """

    def __init__(self, model: ClickModel, vectors: np.ndarray, price: np.ndarray):
        self._model, self._vectors, self._price = model, vectors, price

    @classmethod
    def of(cls, dataset: Dataset) -> ShopTruth | None:
        """Returns the truth of a simulated shop; None for a dataset of another origin.

        Raises:
          DataError: A file of the simulation is damaged.
        """
        file = dataset.folder / SIMULATION_FILE
        if not file.is_file():
            return None
        try:
            plain = yaml.safe_load(file.read_text(encoding="utf-8"))["click_model"]
            fields = {f.name: plain[f.name] for f in dataclasses.fields(ClickModel)}
            model = from_mapping(ClickModel, fields, str(file))
            table = pd.read_parquet(dataset.folder / TRUTH_FILE).set_index("item_id")
            table = table.loc[list(dataset.item_ids)]
        except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError) as error:
            raise DataError(
                f"{file} or {TRUTH_FILE} is damaged ({type(error).__name__}); write the shop again "
                "with `python -m mmrank.simulate`"
            ) from error
        columns = ["type", *ATTRIBUTES]
        vectors = np.concatenate([pd.get_dummies(table[c]).to_numpy(float) for c in columns], 1)
        price = dataset.catalog["price"].to_numpy(float)
        return cls(model, vectors / np.sqrt(len(columns)), price)

    def page(self, rows: pd.DataFrame, score: np.ndarray) -> Page:
        """Returns one page as users know it.

        Args:
          rows: Rows of the dataset's lists, with the columns grade and _item.
          score: The ranker's scores, [rows].
        """
        grade = rows["grade"].to_numpy(int)
        model, item = self._model, rows["_item"].to_numpy(int)
        median = np.array(model.dwell_median)[grade]
        log_time = scipy.stats.norm(np.log(median), model.dwell_sigma)
        return Page(
            score=score,
            attraction=model.attraction(grade),
            satisfaction=log_time.sf(np.log(SATISFIED)),
            purchase=np.array(model.purchase)[grade],
            dwell=median * np.exp(model.dwell_sigma**2 / 2),
            price=np.maximum(self._price[item], 0.01),
            vector=self._vectors[item],
        )
