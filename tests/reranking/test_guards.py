"""Guards: what each of them closes, and that no play gets past them."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.reranking import Page, RerankEnv, draw_page
from mmrank.reranking.guards import GuardOptions, Guards, Rules, read_rules
from mmrank.reranking.moves import moved

SIZE = 6


@pytest.fixture(params=range(4))
def page(request: pytest.FixtureRequest) -> Page:
    return draw_page(SIZE, np.random.default_rng(request.param))


def played(page: Page, guards: Guards, seed: int = 0, moves: int = 40) -> list[np.ndarray]:
    """The orders that random open moves go through."""
    env = RerankEnv(size=SIZE, most_moves=moves + 1, guards=guards)
    _, info = env.reset(seed=seed, options={"page": page})
    rng, orders = np.random.default_rng(seed), [env.order]
    for _ in range(moves):
        opened = np.flatnonzero(info["action_mask"])
        if opened.tolist() == [0]:
            break
        _, _, _, _, info = env.step(int(rng.choice(opened[1:])))
        orders.append(env.order)
    return orders


def relevance(page: Page, order: np.ndarray) -> float:
    return sum(page.attraction[i] / np.log2(p + 2) for p, i in enumerate(order))


def most_alike(page: Page, order: np.ndarray, top: int) -> int:
    groups = [page.group[i] for i in order[:top]]
    return max(groups.count(g) for g in groups)


def test_without_guards_every_swap_is_open(page: Page) -> None:
    assert Guards().open(page, np.arange(SIZE), np.arange(SIZE)).all()
    assert len({tuple(o) for o in played(page, Guards())}) > 20


def test_no_candidate_moves_too_far(page: Page) -> None:
    reached = 0
    for order in played(page, Guards(GuardOptions(most_shift=2))):
        shift = [abs(int(np.flatnonzero(order == i)[0]) - i) for i in range(SIZE)]
        assert max(shift) <= 2
        reached = max(reached, *shift)
    assert reached == 2  # the guard does not close more than it has to


def test_relevance_is_kept(page: Page) -> None:
    share = 0.95
    orders = played(page, Guards(GuardOptions(least_relevance=share)))
    whole = relevance(page, np.arange(SIZE))
    assert min(relevance(page, o) for o in orders) >= share * whole - 1e-9
    free = played(page, Guards())
    assert min(relevance(page, o) for o in free) < share * whole


def test_the_top_never_becomes_less_diverse_than_allowed(page: Page) -> None:
    start = most_alike(page, np.arange(SIZE), 3)
    worst = start
    for order in played(page, Guards(GuardOptions(top=3, most_of_group=1))):
        now = most_alike(page, order, 3)
        assert now <= max(1, worst)  # what the ranker broke may improve, never become worse
        worst = now


def test_pinned_boosted_and_excluded_items(page: Page) -> None:
    rules = Rules(pin={"4": 1}, boost={"5": 3}, exclude=("0",))
    items = [i for i in map(str, page.item) if i != "0"]
    env = RerankEnv(size=SIZE, guards=Guards(rules=rules))
    env.reset(seed=0, options={"page": page})
    assert sorted(env.page.item.tolist()) == sorted(items)
    for order in played(page, Guards(rules=rules)):
        shown = env.page.item[order].tolist()
        assert shown[0] == "4"
        assert shown.index("5") < 3
    others = [i for i in env.page.item[Guards(rules=rules).start(env.page)] if i not in ("4", "5")]
    assert others == [i for i in env.page.item if i not in ("4", "5")]  # they keep their order


def test_rules_for_items_that_are_not_on_the_page_change_nothing(page: Page) -> None:
    rules = Rules(pin={"elsewhere": 1}, boost={"other": 1}, exclude=("nowhere",))
    guards = Guards(rules=rules)
    assert guards.kept(page) is page
    assert guards.start(page).tolist() == list(range(SIZE))
    assert guards.open(page, np.arange(SIZE), np.arange(SIZE)).all()


def test_the_mask_of_actions_is_that_of_the_moves(page: Page) -> None:
    options = GuardOptions(most_shift=1, least_relevance=0.9, top=3, most_of_group=2)
    guards, start = Guards(options), np.arange(SIZE)
    opened = guards.open(page, start, start)
    assert opened[0]
    for action in range(1, SIZE):
        after = moved(start, action)
        kept = relevance(page, after) >= 0.9 * relevance(page, start)
        alike = most_alike(page, after, 3) <= max(2, most_alike(page, start, 3))
        assert opened[action] == (kept and alike)


def test_a_file_of_rules(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("pin: {A: 1}\nboost: {B: 2}\nexclude: [C]\n")
    assert read_rules(file) == Rules(pin={"A": 1}, boost={"B": 2}, exclude=("C",))
    for text, message in (
        ("pin: {A: 1, B: 1}", "two items have the same position"),
        ("pin: {A: 1}\nexclude: [A]", "exclude: A is pinned too"),
        ("pin: {A: 1}\nboost: {A: 2}", "boost: A is pinned too"),
        ("boost: {A: 1}\nexclude: [A]", "exclude: A is boosted too"),
        ("pin: {A: 0}", "pin: A: expected 1 or more"),
        ("pins: {A: 1}", "unknown key 'pins'; did you mean 'pin'?"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message.replace("?", r"\?")):
            read_rules(file)


def test_diversity_needs_groups() -> None:
    half = np.full(2, 0.5)
    page = Page(half, half, half, half, half, np.ones(2), np.eye(2))
    with pytest.raises(ValueError, match="most_of_group: the page has no groups"):
        Guards(GuardOptions(most_of_group=1)).open(page, np.arange(2), np.arange(2))
