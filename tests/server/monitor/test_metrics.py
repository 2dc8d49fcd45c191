"""The metrics page, parsed by prometheus_client."""

from __future__ import annotations

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mmrank.server.monitor.families import Histogram, Tally
from mmrank.server.monitor.metrics import Metrics


def read(metrics: Metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the page, by name and labels."""
    found = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


@pytest.fixture
def metrics() -> Metrics:
    made = Metrics()
    made.version_state("shop", 3, "AVAILABLE")
    return made


def test_requests_under_tensorflow_servings_names(metrics: Metrics) -> None:
    metrics.request("shop", 3, "predict", "OK", 0.004)
    metrics.request("shop", 3, "Predict", "INVALID_ARGUMENT", 0.02, entrypoint="GRPC")
    page = read(metrics)
    count = ":tensorflow:serving:request_count"
    assert page[key(count, model_name="shop", status="OK")] == 1
    assert page[key(count, model_name="shop", status="INVALID_ARGUMENT")] == 1
    latency = ":tensorflow:serving:request_latency"
    labels = {"model_name": "shop", "API": "predict", "entrypoint": "REST"}
    assert page[key(f"{latency}_count", **labels)] == 1
    assert page[key(f"{latency}_sum", **labels)] == pytest.approx(4000)  # microseconds
    # 10 · 1.8¹⁰ = 3570.5 < 4000 ≤ 10 · 1.8¹¹ = 6426.8.
    assert page[key(f"{latency}_bucket", le="3570.47", **labels)] == 0
    assert page[key(f"{latency}_bucket", le="6426.84", **labels)] == 1
    assert page[key(f"{latency}_bucket", le="+Inf", **labels)] == 1
    by_version = {"model_name": "shop", "version": "3", "method": "predict", "status": "OK"}
    assert page[key("mmrank_requests_total", **by_version)] == 1


def test_probes_do_not_count_as_requests(metrics: Metrics) -> None:
    metrics.request("shop", None, "status", "OK", 0.001)
    page = read(metrics)
    assert not [k for k in page if k[0].startswith(":tensorflow:serving:request")]
    assert [k for k in page if k[0] == "mmrank_requests_total"]


def test_unknown_model_names_share_one_label(metrics: Metrics) -> None:
    for i in range(50):
        metrics.request(f"no-such-{i}", None, "predict", "NOT_FOUND", 0.001)
    page = read(metrics)
    count = ":tensorflow:serving:request_count"
    assert {k[1] for k in page if k[0] == count} == {
        frozenset({("model_name", "unknown"), ("status", "NOT_FOUND")})
    }


def test_scores_exclude_padding(metrics: Metrics) -> None:
    metrics.scores(np.array([[0.3, -1e9], [-3.0, 0.3]], np.float32), version=3)
    page = read(metrics)
    assert page[key("mmrank_score_count", version="3")] == 3
    assert page[key("mmrank_score_sum", version="3")] == pytest.approx(-2.4)
    assert page[key("mmrank_score_bucket", version="3", le="-2")] == 1


def test_an_unloaded_version_is_removed_from_metrics(metrics: Metrics) -> None:
    metrics.version_state("shop", 4, "AVAILABLE")
    for version in (3, 4):
        metrics.request("shop", version, "predict", "OK", 0.01)
        metrics.scores(np.ones(2), version)
    metrics.version_state("shop", 3, "END")
    versions = {dict(k[1]).get("version") for k in read(metrics)} - {None}
    assert versions == {"4"}


def test_each_version_has_one_state(metrics: Metrics) -> None:
    metrics.version_state("shop", 3, "UNLOADING")
    states = [k for k in read(metrics) if k[0] == "mmrank_model_version_state"]
    assert states == [
        key("mmrank_model_version_state", model_name="shop", version="3", state="UNLOADING")
    ]


def test_caches_features_modalities_and_the_queue(metrics: Metrics) -> None:
    metrics.cache("queries", hit=True)
    metrics.cache("items", hit=False, count=5)
    metrics.feature("price", np.array([1.0, 2.0, 3.0]), np.array([True, False, True]))
    metrics.absent("photo", 0.25)
    metrics.queue(7)
    page = read(metrics)
    assert page[key("mmrank_cache_requests_total", cache="queries", outcome="hit")] == 1
    assert page[key("mmrank_cache_requests_total", cache="items", outcome="miss")] == 5
    assert page[key("mmrank_feature_present_total", feature="price", present="true")] == 2
    assert page[key("mmrank_feature_present_total", feature="price", present="false")] == 1
    assert page[key("mmrank_modality_absent_share_sum", modality="photo")] == 0.25
    assert page[key("mmrank_queue_depth")] == 7


def test_values_of_features_are_passed_on_to_drift(metrics: Metrics) -> None:
    recorded = []
    metrics.on_feature = lambda name, values, present: recorded.append((name, values, present))
    metrics.feature("price", np.array([[1.0], [2.0]]), np.array([[True], [False]]))
    ((name, values, present),) = recorded
    assert name == "price"
    assert values.tolist() == [1, 2]
    assert present.tolist() == [True, False]


def test_a_histogram_of_many_values_equals_one_of_single_values() -> None:
    values = np.random.default_rng(0).normal(size=200)
    at_once = Histogram("h", "h", (), [-1.0, 0.0, 1.0])
    one_by_one = Histogram("h", "h", (), [-1.0, 0.0, 1.0])
    at_once.observe_all((), np.append(values, np.nan))
    for value in [*values, -1.0, 1.0]:
        one_by_one.observe((), float(value))
    at_once.observe_all((), np.array([-1.0, 1.0]))
    (left,), (right,) = list(at_once.collect()), list(one_by_one.collect())
    for a, b in zip(left.samples, right.samples, strict=True):
        assert (a.name, a.labels) == (b.name, b.labels)
        assert a.value == pytest.approx(b.value)
    expected = sum(v <= 0 for v in values) + 1
    assert next(s.value for s in left.samples if s.labels.get("le") == "0") == expected


def test_labels_are_escaped() -> None:
    metrics = Metrics()
    metrics.registry.register(tally := Tally("mmrank_odd_total", "Odd.", ("value",)))
    tally.add(('a"b\\c\n',))
    assert read(metrics)[key("mmrank_odd_total", value='a"b\\c\n')] == 1
