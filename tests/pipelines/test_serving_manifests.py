"""The files of pipelines/serving: parsed, and checked against one another and the servers."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from mmrank.server.batching_parameters import Batching, read_batching
from mmrank.server.config import load_server_config
from mmrank.server.guard.guard import check_exposure
from mmrank.server.monitor.config import Drift
from mmrank.server.monitor.metrics import PATH, Metrics
from mmrank.server.monitor.watch import DriftWatch

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pipelines" / "serving"
GRPC, REST, MODEL = 8500, 8501, "ranker"
# Emitted by TensorFlow Serving 2.15 (servables/tensorflow/util.cc, cc/saved_model/loader_util.cc).
TENSORFLOW_SERVING = {
    ":tensorflow:serving:request_count",
    ":tensorflow:serving:request_latency",
    ":tensorflow:serving:runtime_latency",
    ":tensorflow:cc:saved_model:load_attempt_count",
    ":tensorflow:cc:saved_model:load_latency",
}
OF_PROMETHEUS = {"up"}
_WORDS = {"and", "or", "unless", "bool", "offset", "on", "ignoring", "by", "without"}
_WORDS |= {"group_left", "group_right", "inf", "nan"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


MANIFESTS = sorted((FOLDER / "kubernetes").glob("*.yaml"))
OBJECTS = [o for file in MANIFESTS for o in documents(f"kubernetes/{file.name}")]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] == kind}


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


SERVERS = ("tensorflow-serving", "mmrank")


# ---- metrics


def own_metrics() -> set[str]:
    """The names of all metric families of mmrank's server."""
    metrics = Metrics()
    metrics.registry.register(DriftWatch(Drift()))
    families = list(metrics.registry.collect())
    return {f.name + ("_total" if f.type == "counter" else "") for f in families}


def metrics_in(expression: str) -> set[str]:
    """The metrics that a PromQL expression reads: names except functions, keywords and labels."""
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    text = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", text)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    names = re.findall(r"(?<![\w:.$])([A-Za-z_:][\w:]*)\b(?!\s*\()", text)
    return {n for n in names if n not in _WORDS}


def expressions() -> Iterator[tuple[str, str]]:
    """Every PromQL expression with its location."""
    for group in documents("alerts.yml")[0]["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    dashboard = json.loads((FOLDER / "grafana" / "dashboards" / "ranker.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for variable in dashboard["templating"]["list"]:
        (metric,) = re.findall(r"label_values\(([^,]+),", variable["query"]["query"])
        yield variable["name"], metric
    for rule in documents("prometheus-adapter.yaml")[0]["rules"]["custom"]:
        (series,) = re.findall(r'__name__="([^"]+)"', rule["seriesQuery"])
        yield rule["name"]["as"], series


def test_the_reader_of_expressions() -> None:
    read = metrics_in('sum by (le, job) (rate(:a:b_bucket{x="c_total"}[5m])) / on (z) d_sum > 0.5')
    assert read == {":a:b_bucket", "d_sum"}


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_every_metric_is_one_that_a_server_emits(where: str, expression: str) -> None:
    known = own_metrics() | TENSORFLOW_SERVING | OF_PROMETHEUS
    read = metrics_in(expression)
    assert read, where
    for name in read:
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in known or base in known, f"{where}: {name}"


def test_our_server_has_the_metric_names_of_tensorflow_serving() -> None:
    assert own_metrics() >= TENSORFLOW_SERVING


def test_labels_in_expressions_are_the_metrics_labels() -> None:
    metrics = Metrics()
    labels = {"le", "job", "instance"}
    for collector in metrics.registry._collector_to_names:
        labels |= set(getattr(collector, "labels", ()))
    labels |= {"feature", "measure", "bin"}
    for where, expression in expressions():
        inside = " ".join(re.findall(r"\{([^}]*)\}", expression))
        used = set(re.findall(r"([a-z_A-Z]+)\s*(?:=~|!~|!=|=)", inside))
        for listed in re.findall(r"\b(?:by|on|ignoring)\s*\(([^)]*)\)", expression):
            used |= set(filter(None, map(str.strip, listed.split(","))))
        assert used <= labels, f"{where}: {used - labels}"


def test_every_alert_has_a_severity_and_a_summary() -> None:
    for group in documents("alerts.yml")[0]["groups"]:
        names = [rule["alert"] for rule in group["rules"]]
        assert len(set(names)) == len(names)
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in ("page", "ticket")
            assert rule["annotations"]["summary"]


# ---- what the servers read


def test_versions_that_labels_name_are_loaded() -> None:
    text = (FOLDER / "models.config").read_text(encoding="utf-8")
    read = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = read.model_config_list.config
    assert (model.name, model.base_path) == (MODEL, f"/models/{MODEL}")
    assert set(model.version_labels) == {"stable", "canary"}
    loaded = set(model.model_version_policy.specific.versions)
    assert set(model.version_labels.values()) <= loaded


def test_batching_is_read_by_our_own_server() -> None:
    read = read_batching(FOLDER / "batching.config", Batching())
    assert read.max_batch_size == read.allowed_batch_sizes[-1] == 32
    assert list(read.allowed_batch_sizes) == sorted(read.allowed_batch_sizes)


def test_the_monitoring_path() -> None:
    text = (FOLDER / "monitoring.config").read_text(encoding="utf-8")
    assert re.search(r'path:\s*"([^"]+)"', text)[1] == PATH  # type: ignore[index]
    for job in documents("prometheus.yml")[0]["scrape_configs"]:
        assert job["metrics_path"] == PATH
    for name in SERVERS:
        template = of_kind("Deployment")[name]["spec"]["template"]
        assert template["metadata"]["annotations"]["prometheus.io/path"] == PATH
        assert template["metadata"]["annotations"]["prometheus.io/port"] == str(REST)


def test_our_servers_config() -> None:
    config = load_server_config(FOLDER / "serve.yaml")
    assert config.model.name == MODEL
    assert (config.listen.rest_port, config.listen.grpc_port) == (REST, GRPC)
    ends = config.listen.drain_seconds + config.listen.grace_seconds
    pod = of_kind("Deployment")["mmrank"]["spec"]["template"]["spec"]
    assert ends < pod["terminationGracePeriodSeconds"]
    redis = of_kind("Service")["redis"]
    (port,) = redis["spec"]["ports"]
    # Ranking and administration need a key, and the rate is limited; probes need no key.
    assert config.security.keys == "/keys/keys.json"
    assert config.limits.rate is not None
    assert config.security.anonymous == ("metrics",)
    check_exposure(config.listen.host, config.security)
    (compose,) = documents("compose.yaml")
    mounts = container(of_kind("Deployment")["mmrank"])["volumeMounts"]
    assert {"name": "keys", "mountPath": "/keys", "readOnly": True} in mounts
    assert any(v.endswith(":/keys:ro") for v in compose["services"]["mmrank"]["volumes"])
    assert config.embeddings.redis == f"redis://{redis['metadata']['name']}:{port['port']}/0"


# ---- Kubernetes


def test_a_kustomization_names_every_manifest() -> None:
    (made,) = documents("kustomization.yaml")
    text = (FOLDER / "kustomization.yaml").read_text(encoding="utf-8")
    for file in MANIFESTS:
        assert f"kubernetes/{file.name}" in text
    for name in made["resources"]:
        assert (FOLDER / name).is_file()
    (config,) = made["configMapGenerator"]
    for name in config["files"]:
        assert (FOLDER / name).is_file()
    mounted = {v["configMap"]["name"] for o in of_kind("Deployment").values() for v in volumes(o)}
    assert mounted == {config["name"]}


def volumes(deployment: dict[str, Any]) -> list[dict[str, Any]]:
    """The volumes of a pod that are config maps."""
    listed = deployment["spec"]["template"]["spec"].get("volumes", [])
    return [v for v in listed if "configMap" in v]


@pytest.mark.parametrize("name", SERVERS)
def test_ports_and_selectors_agree(name: str) -> None:
    deployment, service = of_kind("Deployment")[name], of_kind("Service")[name]
    ports = {p["name"]: p["containerPort"] for p in container(deployment)["ports"]}
    assert ports == {"grpc": GRPC, "http": REST}
    for port in service["spec"]["ports"]:
        assert port["port"] == ports[port["targetPort"]]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    for selector in (
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        of_kind("PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels
    (scaled,) = [
        o
        for o in of_kind("HorizontalPodAutoscaler").values()
        if o["spec"]["scaleTargetRef"]["name"] == name
    ]
    assert "replicas" not in deployment["spec"], "the autoscaler's would be overwritten"
    assert 2 <= scaled["spec"]["minReplicas"] < scaled["spec"]["maxReplicas"]


@pytest.mark.parametrize("name", SERVERS)
def test_probes_limits_and_rolling_changes(name: str) -> None:
    deployment = of_kind("Deployment")[name]
    server = container(deployment)
    ports = {p["name"] for p in server["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = server[probe]["httpGet"]
        assert asked["port"] in ports
        assert asked["path"] in (f"/v1/models/{MODEL}", "/readyz", "/healthz")
    assert server["startupProbe"]["httpGet"]["path"] == f"/v1/models/{MODEL}"
    for kind in ("requests", "limits"):
        assert {"cpu", "memory"} <= set(server["resources"][kind])
    rolling = deployment["spec"]["strategy"]["rollingUpdate"]
    assert (rolling["maxUnavailable"], rolling["maxSurge"]) == (0, 1)


def test_autoscaling_is_on_cpu_and_on_the_latency_that_the_adapter_makes() -> None:
    rules = documents("prometheus-adapter.yaml")[0]["rules"]["custom"]
    made = {rule["name"]["as"] for rule in rules}
    for scaler in of_kind("HorizontalPodAutoscaler").values():
        by_type = {m["type"]: m for m in scaler["spec"]["metrics"]}
        assert by_type["Resource"]["resource"]["name"] == "cpu"
        assert by_type["Pods"]["pods"]["metric"]["name"] in made


def test_no_container_runs_as_root() -> None:
    for deployment in of_kind("Deployment").values():
        assert deployment["spec"]["template"]["spec"]["securityContext"]["runAsNonRoot"]
        own = container(deployment)["securityContext"]
        assert own["readOnlyRootFilesystem"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}


# ---- compose


def test_compose_and_kubernetes_start_the_same_server() -> None:
    (compose,) = documents("compose.yaml")
    services = compose["services"]
    assert {"tensorflow-serving", "mmrank", "redis", "prometheus", "grafana"} == set(services)
    of_pod = container(of_kind("Deployment")["tensorflow-serving"])
    assert services["tensorflow-serving"]["command"] == of_pod["args"]
    assert services["tensorflow-serving"]["image"] == of_pod["image"]
    assert services["redis"]["image"] == container(of_kind("Deployment")["redis"])["image"]
    assert services["mmrank"]["profiles"] == ["mmrank"]


def test_flags_name_existing_files() -> None:
    arguments = container(of_kind("Deployment")["tensorflow-serving"])["args"]
    flags = dict(a.removeprefix("--").split("=", 1) for a in arguments)
    assert (flags["port"], flags["rest_api_port"]) == (str(GRPC), str(REST))
    files = [v for v in flags.values() if v.startswith("/config/")]
    assert len(files) == 3
    (config,) = documents("kustomization.yaml")[0]["configMapGenerator"]
    for file in files:
        assert pathlib.PurePosixPath(file).name in config["files"]
    # This is required for labels in a config file that is read at startup.
    assert flags["allow_version_labels_for_unavailable_models"] == "true"


def test_compose_publishes_only_on_loopback() -> None:
    (compose,) = documents("compose.yaml")
    for service in compose["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./") or (FOLDER / source).is_dir()


def test_prometheus_scrapes_the_services_of_compose() -> None:
    (compose,) = documents("compose.yaml")
    (prometheus,) = documents("prometheus.yml")
    for job in prometheus["scrape_configs"]:
        (target,) = job["static_configs"][0]["targets"]
        name, port = target.split(":")
        assert name == job["job_name"]
        assert any(p.endswith(f":{port}") for p in compose["services"][name]["ports"])
    for rules in prometheus["rule_files"]:
        assert (FOLDER / pathlib.PurePosixPath(rules).name).is_file()


def test_grafana_reads_that_prometheus() -> None:
    (source,) = documents("grafana/provisioning/datasources/prometheus.yaml")[0]["datasources"]
    dashboard = json.loads((FOLDER / "grafana" / "dashboards" / "ranker.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
    ids = [p["id"] for p in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert "prometheus:9090" in source["url"]


def test_no_file_has_a_secret() -> None:
    for file in FOLDER.rglob("*"):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            written = re.search(r"(?i)(password|secret|key): *[\"']?[A-Za-z0-9+/]{12,}", text)
            assert written is None, file
