"""Estimators against loops, their means over many logs against the truth, and refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.reranking.judging import ESTIMATORS, LoggedPages, estimate, overlap_of

CHOICES = 3  # candidates at each of two positions; a position may repeat what is above it
RNG = np.random.default_rng(1)
# Mean reward of each position given the candidates down to it: the lower one depends on the upper.
FIRST = RNG.random(CHOICES)
SECOND = RNG.random((CHOICES, CHOICES))
LOGGED = np.array([0.5, 0.3, 0.2]), np.array([[0.6, 0.2, 0.2], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5]])
JUDGED = np.array([0.2, 0.3, 0.5]), np.array([[0.2, 0.3, 0.5], [0.5, 0.3, 0.2], [0.4, 0.4, 0.2]])
TRUTH = sum(
    JUDGED[0][a] * JUDGED[1][a, b] * (FIRST[a] + SECOND[a, b])
    for a, b in itertools.product(range(CHOICES), repeat=2)
)


def drawn(pages: int, rng: np.random.Generator, wrong: float = 0.3) -> LoggedPages:
    """A log of the logging policy, with the predictions of a model that is wrong by `wrong`."""
    first = rng.choice(CHOICES, pages, p=LOGGED[0])
    second = np.array([rng.choice(CHOICES, p=LOGGED[1][a]) for a in first])
    means = np.stack([FIRST[first], SECOND[first, second]], -1)
    rewards = means + rng.normal(0, 0.5, means.shape)
    # The reward from a position on, under the judged policy.
    from_second = SECOND + wrong
    from_first = FIRST + wrong + (JUDGED[1] * from_second).sum(-1)
    below = (JUDGED[1] * from_second).sum(-1)
    return LoggedPages(
        rewards,
        np.stack([LOGGED[0][first], LOGGED[1][first, second]], -1),
        np.stack([JUDGED[0][first], JUDGED[1][first, second]], -1),
        predicted=np.stack([from_first[first], from_second[first, second]], -1),
        expected=np.stack([np.full(pages, JUDGED[0] @ from_first), below[first]], -1),
    )


def looped(name: str, log: LoggedPages, most: float = 10.0) -> list[float]:
    terms, weights = [], []
    for i in range(len(log.rewards)):
        ratios = [log.judged[i, k] / log.logged[i, k] for k in range(2)]
        weight, reward = ratios[0] * ratios[1], log.rewards[i, 0] + log.rewards[i, 1]
        q, mean = log.predicted[i], log.expected[i]
        weights.append(weight)
        kept = weight if weight <= most or name == "doubly_robust" else 0.0
        terms.append(
            {
                "inverse_propensity": weight * reward,
                "self_normalised": weight * reward,
                "direct": mean[0],
                "doubly_robust": mean[0] + kept * (reward - q[0]),
                "switch_doubly_robust": mean[0] + kept * (reward - q[0]),
                "pseudo_inverse": (1 + ratios[0] - 1 + ratios[1] - 1) * reward,
                "cascade_doubly_robust": mean[0]
                + ratios[0] * (log.rewards[i, 0] - q[0])
                + ratios[0] * mean[1]
                + weight * (log.rewards[i, 1] - q[1]),
            }[name]
        )
    if name == "self_normalised":
        return [term / (sum(weights) / len(weights)) for term in terms]
    return terms


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_terms(name: str) -> None:
    log = drawn(50, np.random.default_rng(2))
    options = {"most": 2.0} if name.startswith("switch") else {}
    terms = ESTIMATORS.make(name, options)(log)
    np.testing.assert_allclose(terms, looped(name, log, **options), rtol=1e-9)


@pytest.mark.parametrize(
    "name", ["inverse_propensity", "doubly_robust", "cascade_doubly_robust", "self_normalised"]
)
def test_the_mean_over_logs_is_the_truth(name: str) -> None:
    """With a model that is wrong by 0.3 at each position."""
    rng = np.random.default_rng(3)
    estimates = [ESTIMATORS.make(name)(drawn(400, rng)).mean() for _ in range(200)]
    error = np.std(estimates) / np.sqrt(len(estimates))
    bias = 0.01 if name == "self_normalised" else 0.0  # of the order of 1 / pages
    assert abs(np.mean(estimates) - TRUTH) < 4 * error + bias
    assert abs(ESTIMATORS.make("direct")(drawn(400, rng)).mean() - TRUTH) > 0.5


def test_robust_estimators_vary_less() -> None:
    rng = np.random.default_rng(4)
    names = ("inverse_propensity", "doubly_robust", "cascade_doubly_robust")
    logs = [drawn(200, rng, wrong=0.0) for _ in range(150)]
    spread = {n: np.std([ESTIMATORS.make(n)(log).mean() for log in logs]) for n in names}
    assert spread["doubly_robust"] < spread["inverse_propensity"]
    assert spread["cascade_doubly_robust"] < spread["doubly_robust"]


def test_the_pseudo_inverse_is_unbiased_for_sums_over_positions() -> None:
    """The lower position's reward depends on its own candidate alone, as do both policies."""
    rng = np.random.default_rng(5)
    worth, logging, judged = rng.random((2, 3)), np.full(3, 1 / 3), np.array([0.1, 0.2, 0.7])
    truth = float(sum(judged @ worth[k] for k in range(2)))
    estimates = []
    for _ in range(200):
        shown = rng.choice(3, (300, 2), p=logging)
        rewards = np.stack([worth[k][shown[:, k]] for k in range(2)], -1)
        log = LoggedPages(rewards, logging[shown], judged[shown])
        estimates.append(ESTIMATORS.make("pseudo_inverse")(log).mean())
    assert abs(np.mean(estimates) - truth) < 4 * np.std(estimates) / np.sqrt(200)


@pytest.mark.parametrize("name", ["self_normalised", "doubly_robust", "cascade_doubly_robust"])
def test_intervals_cover_the_truth(name: str) -> None:
    rng = np.random.default_rng(6)
    covered = []
    for i in range(200):
        found = estimate(drawn(300, rng), name, resamples=300, seed=i)
        covered.append(found.low <= TRUTH <= found.high)
        assert found.low <= found.mean <= found.high
    assert 0.90 <= np.mean(covered) <= 0.99


def test_judging_the_logging_policy_gives_the_mean_reward() -> None:
    log = drawn(100, np.random.default_rng(7))
    same = LoggedPages(log.rewards, log.logged, log.logged)
    mean = log.rewards.sum(-1).mean()
    for name in ("inverse_propensity", "self_normalised", "pseudo_inverse"):
        assert estimate(same, name, resamples=10).mean == pytest.approx(mean, rel=1e-12)
    assert overlap_of(same).effective == pytest.approx(100)


def test_what_a_log_cannot_say() -> None:
    rare = np.full([1000, 1], 0.99)
    rare[:3] = 0.01
    rewards, one = np.ones([1000, 1]), np.ones([1000, 1])
    few = LoggedPages(rewards, rare, (rare < 0.5).astype(float))
    assert "worth 3 pages" in overlap_of(few).refusal
    heavy = np.full([1000, 1], 0.5)
    heavy[0] = 1e-4
    found = overlap_of(LoggedPages(rewards, heavy, np.minimum(one, heavy * [[0.4]] + 0.1)))
    assert found.refusal
    # Half of what the policy would show was never logged.
    half = overlap_of(LoggedPages(rewards, one, one / 2))
    assert "the mean 0.50 instead of 1" in half.refusal
    assert not overlap_of(drawn(500, np.random.default_rng(8))).refusal


def test_wrong_input() -> None:
    one = np.ones([2, 1])
    with pytest.raises(ValueError, match="page 1 was shown, but its probability is 0"):
        LoggedPages(one, np.array([[0.5], [0.0]]), one)
    with pytest.raises(ValueError, match="judged: expected probabilities"):
        LoggedPages(one, one, 2 * one)
    with pytest.raises(ValueError, match=r"judged: shape \(1, 1\)"):
        LoggedPages(one, one, one[:1])
    with pytest.raises(ValueError, match="needs predictions of a model"):
        estimate(LoggedPages(one, one, one), "doubly_robust")
    with pytest.raises(ConfigError, match="unknown estimator 'ips'"):
        estimate(LoggedPages(one, one, one), "ips")
