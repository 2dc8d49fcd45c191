"""Which features and tasks of a ranker say what a policy sees of a candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection

from mmrank.config import ConfigError
from mmrank.schema import Schema, did_you_mean

__all__ = ["PageColumns"]

PRICE_KIND, GROUP_KIND = "number", "category"


@dataclasses.dataclass(frozen=True)
class PageColumns:
    """The features and tasks that a policy reads; empty for what there is not.

    Attributes:
      price: Feature of the item, a number.
      group: Feature of the item, a category, that `most_of_group` counts.
      click: Task with the probability of a click. Without one, the logistic function of the score
        is used.
      purchase: Task with the probability of a purchase; without one, 0.
      dwell: Task with the seconds on the item; without one, 0.

    Example:
      >>> PageColumns().price, PageColumns(group="").group
      ('price', '')
    """

    price: str = "price"
    group: str = "brand"
    click: str = "click"
    purchase: str = "purchase"
    dwell: str = "dwell"

    def of_ranker(self, schema: Schema, tasks: Collection[str]) -> PageColumns:
        """Returns the columns that a ranker has.

        A usual name that the ranker lacks becomes empty; one that a config gave has to be there.

        Args:
          schema: The schema of the ranker's data.
          tasks: Names of its tasks.

        Raises:
          ConfigError: A feature or task that was named does not exist, or is of another kind.
        """
        items = {f.name: f.kind for f in schema.side("item")}
        found = {}
        for field in dataclasses.fields(self):
            name = getattr(self, field.name)
            kind = {"price": PRICE_KIND, "group": GROUP_KIND}.get(field.name)
            known = tasks if kind is None else [n for n, k in items.items() if k == kind]
            if name and name not in known:
                if name != field.default:
                    what = "task" if kind is None else f"{kind} of the item"
                    raise ConfigError(
                        f"columns.{field.name}: the ranker has no {what} {name!r}"
                        f"{did_you_mean(name, known)}"
                    )
                name = ""
            found[field.name] = name
        return PageColumns(**found)
