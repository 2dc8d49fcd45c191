"""Access: who, how often, what is recorded, and when other machines may reach a server."""

from __future__ import annotations

import json
import pathlib

import pytest

from mmrank.config import ConfigError
from mmrank.data.pseudonyms import VARIABLE, PseudonymError
from mmrank.server.guard.access import grpc_action, rest_action
from mmrank.server.guard.guard import Guard, Rejected, check_exposure
from mmrank.server.guard.keys import make_key
from mmrank.server.guard.options import Limits, Security

PEER = "127.0.0.1"
REST = {  # allowed paths by role
    "rank": ["/rank", "/feedback", "/v1/models/m:predict", "/v1/models/m/versions/1:regress"],
    "metrics": ["/monitoring/prometheus/metrics"],
    "admin": ["/monitoring/prometheus/metrics", "/v1/config", "/"],
}
SERVICE = "/tensorflow.serving."
GRPC = {
    "rank": ["PredictionService/Predict", "PredictionService/Regress"],
    "metrics": [],
    "admin": ["ModelService/HandleReloadConfigRequest", "ModelService/Later"],
}


@pytest.fixture
def keys(tmp_path: pathlib.Path) -> dict[str, str]:
    """A key for each role."""
    file = tmp_path / "keys.json"
    return {role: make_key(file, role, [role]) for role in REST}


@pytest.fixture
def security(tmp_path: pathlib.Path, keys: dict[str, str]) -> Security:
    return Security(keys=str(tmp_path / "keys.json"))


def code(guard: Guard, key: str | None, path: str, peer: str = PEER) -> str:
    action = rest_action("POST", path) if path.startswith("/") else grpc_action(SERVICE + path)
    try:
        guard.admit(key, action, peer)
    except Rejected as error:
        return error.code
    return "OK"


def test_each_role_allows_its_own_actions(security: Security, keys: dict[str, str]) -> None:
    guard = Guard(Limits(), security)
    for allowed in (REST, GRPC):
        every = {path for paths in allowed.values() for path in paths}
        for role, key in keys.items():
            open_to = {p for p in every if code(guard, key, p) == "OK"}
            assert open_to == set(allowed[role])
            assert {code(guard, key, p) for p in every - open_to} <= {"PERMISSION_DENIED"}
        assert {code(guard, None, path) for path in every} == {"UNAUTHENTICATED"}
    for action in (rest_action("GET", "/v1/models/m"), rest_action("GET", "/v1/models/m/metadata")):
        for key in keys.values():
            guard.admit(key, action, PEER)
    guard.admit(None, rest_action("GET", "/healthz"), PEER)


def test_without_keys_everybody_is_allowed_by_default() -> None:
    assert code(Guard(Limits(), Security()), None, "/rank") == "OK"
    few = Guard(Limits(), Security(anonymous=("metrics",)))
    assert code(few, None, "/rank") == "UNAUTHENTICATED"
    assert code(few, None, "/monitoring/prometheus/metrics") == "OK"
    with pytest.raises(ConfigError, match="unknown role 'matrics'; did you mean 'metrics'"):
        Guard(Limits(), Security(anonymous=("matrics",)))


def test_an_exposed_server_without_keys_allows_no_admin() -> None:
    every = {path for paths in REST.values() for path in paths}
    exposed = Guard(Limits(), Security(exposed=True))
    closed = {path for path in every if code(exposed, None, path) != "OK"}
    assert closed == set(REST["admin"]) - set(REST["rank"]) - set(REST["metrics"]) != set()
    actual = Guard(Limits(), Security(exposed=True, anonymous=("rank", "metrics", "admin")))
    assert {code(actual, None, path) for path in every} == {"OK"}


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_not_positive_and_finite_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match="limits.image_megapixels: .* above 0 and finite"):
        Limits(image_megapixels=value)


def test_the_rate_of_a_key_applies(security: Security, tmp_path: pathlib.Path) -> None:
    quick = make_key(tmp_path / "keys.json", "quick", ["rank"], rate="5/hour")
    slow = make_key(tmp_path / "keys.json", "slow", ["rank"])
    guard = Guard(Limits(rate="2/hour"), security)
    assert [code(guard, slow, "/rank") for _ in range(3)] == ["OK", "OK", "RESOURCE_EXHAUSTED"]
    assert [code(guard, quick, "/rank") for _ in range(6)] == ["OK"] * 5 + ["RESOURCE_EXHAUSTED"]
    with pytest.raises(
        Rejected, match=r"more than 2/hour from this client; try again in \d+ s"
    ) as actual:
        guard.admit(slow, rest_action("POST", "/rank"), PEER)
    assert 1 <= (actual.value.retry_seconds or 0) <= 7201


def test_each_address_without_a_key_has_its_own_rate() -> None:
    guard = Guard(Limits(rate="1/hour"), Security())
    assert code(guard, None, "/rank", "10.0.0.1") == "OK"
    assert code(guard, None, "/rank", "10.0.0.1") == "RESOURCE_EXHAUSTED"
    assert code(guard, None, "/rank", "10.0.0.2") == "OK"


def test_wrong_keys_are_rate_limited(security: Security, keys: dict[str, str]) -> None:
    guard = Guard(Limits(failures="3/hour"), security)
    tries = [code(guard, "mmr_00000000_x", "/rank") for _ in range(5)]
    assert tries == ["UNAUTHENTICATED"] * 3 + ["RESOURCE_EXHAUSTED"] * 2
    assert code(guard, "mmr_00000000_x", "/rank", "10.0.0.2") == "UNAUTHENTICATED"
    assert code(guard, keys["rank"], "/rank") == "OK"  # other clients may share the address


def test_a_malformed_rate_is_refused(security: Security) -> None:
    for limits in (Limits(rate="fast"), Limits(failures="")):
        with pytest.raises(ConfigError, match="is not a rate; write one such as 100/second"):
            Guard(limits, security)


def recorded(guard: Guard, file: pathlib.Path, **facts: object) -> dict[str, object]:
    action = rest_action("POST", "/rank")
    caller = guard.admit(None, action, PEER)
    guard.record(action, caller, PEER, "/rank", 200, 0.0123, facts)
    guard.close()
    line: dict[str, object] = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
    return line


def test_the_audit_log_has_no_user_and_no_query(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    file = tmp_path / "audit"
    line = recorded(
        Guard(Limits(), Security(audit=str(file))), file, user="u1", query="red", lists=1
    )
    assert {k: v for k, v in line.items() if k not in ("time", "chain")} == {
        "action": "rank",
        "request": None,
        "key": None,
        "owner": None,
        "peer": PEER,
        "target": "/rank",
        "status": 200,
        "milliseconds": 12.3,
        "query_characters": 3,
        "lists": 1,
    }


def test_the_audit_log_may_have_a_pseudonym_and_the_query(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "a:" + "0" * 64)
    file = tmp_path / "audit"
    guard = Guard(Limits(), Security(audit=str(file), audit_queries=True))
    line = recorded(guard, file, user="u1", query="red")
    assert line["query"] == "red"
    assert str(line["user"]).startswith("a.")
    assert "u1" not in json.dumps(line)


def test_health_probes_are_not_recorded(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "audit"
    guard = Guard(Limits(), Security(audit=str(file)))
    guard.record(rest_action("GET", "/healthz"), None, PEER, "/healthz", 200, 0.0, {})
    guard.close()
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1  # only the opening line


def test_user_ids_become_pseudonyms_if_the_model_uses_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "a:" + "0" * 64)
    assert Guard(Limits(), Security()).user("u1") == "u1"
    assert Guard(Limits(), Security(pseudonymise_users=True)).user("u1").startswith("a.")
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(PseudonymError, match="no key"):
        Guard(Limits(), Security(pseudonymise_users=True))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "shop.example"])
def test_other_machines_need_keys_and_tls(host: str) -> None:
    with pytest.raises(ConfigError, match=r"set security.keys and security.certificate"):
        check_exposure(host, Security())
    with pytest.raises(ConfigError, match=r"set security.certificate"):
        check_exposure(host, Security(keys="k"))
    check_exposure(host, Security(keys="k", certificate="c", private_key="p"))
    check_exposure(host, Security(exposed=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_the_loopback_address_needs_neither(host: str) -> None:
    check_exposure(host, Security())


def test_nobody_without_a_key_is_admin_of_an_exposed_address() -> None:
    actual = Security(exposed=True, anonymous=("rank", "admin"))
    with pytest.raises(ConfigError, match=r"remove admin from security\.anonymous"):
        check_exposure("0.0.0.0", actual)
    check_exposure("127.0.0.1", actual)
    keyed = Security(keys="k", certificate="c", private_key="p", anonymous=("admin",))
    with pytest.raises(ConfigError, match="remove admin from"):
        check_exposure("10.0.0.1", keyed)


def test_missing_keys_are_rate_limited(security: Security, keys: dict[str, str]) -> None:
    guard = Guard(Limits(failures="3/hour"), security)
    tries = [code(guard, None, "/rank") for _ in range(5)]
    assert tries == ["UNAUTHENTICATED"] * 3 + ["RESOURCE_EXHAUSTED"] * 2
    assert code(guard, None, "/rank", "10.0.0.2") == "UNAUTHENTICATED"
    assert code(guard, keys["rank"], "/rank") == "OK"


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/V1/Models/m:PREDICT"])
def test_a_path_of_any_case_needs_the_same_role(
    path: str, security: Security, keys: dict[str, str]
) -> None:
    guard = Guard(Limits(), security)
    assert code(guard, keys["rank"], path) == "OK"
    assert code(guard, keys["metrics"], path) == "PERMISSION_DENIED"


def test_audit_failure_must_be_refuse_or_report() -> None:
    with pytest.raises(ConfigError, match="audit_failure 'ignore': choose refuse or report"):
        Security(audit_failure="ignore")
