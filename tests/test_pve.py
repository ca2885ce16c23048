"""The PVE client against fakepve over real TLS, and against every recorded answer of the genuine API."""

import dataclasses
import http.server
import json
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from fakepve import FakePve
from fakepve.certs import make_cert

from planner.connection import Connection, base_url
from planner.errors import ApiRefused, BadAnswer, ConfigError, Forbidden, PlannerError, Unreachable
from planner.pve import Pve
from tests.fakecluster import TOKEN_SECRET, FakeCluster, Served, serving, small_cluster

RECORDED = Path(__file__).parent / "data" / "pve9-recorded"
PASSWORD = "correct-horse-battery"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(small_cluster(), tmp_path) as server:
        yield server


@pytest.fixture
def stock(tmp_path: Path) -> Iterator[Served]:
    fake = FakePve(user="root@pam", password=PASSWORD)
    fake.add_vm(100, "web", node="pve1", status="running")
    with serving(fake, tmp_path) as server:
        yield server


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def by_password(server: Served, **changes: Any) -> Connection:
    return server.connection(token_id=None, token_secret=None, user="root@pam", password=PASSWORD, **changes)


# ------------------------------------------------------------------ credentials


def test_a_token_is_enough(stock: Served) -> None:
    with Pve(stock.connection()) as pve:
        assert pve.get("/version")["version"].startswith("9")
        assert pve.calls == 1


def test_a_token_name_is_completed_by_the_user(stock: Served) -> None:
    with Pve(stock.connection(token_id="t1", user="root@pam")) as pve:
        assert pve.get("/version")


def test_a_password_is_turned_into_a_ticket_once(stock: Served) -> None:
    with Pve(by_password(stock)) as pve:
        pve.get("/nodes")
        pve.post("/nodes/pve1/qemu/100/status/stop")
    assert stock.sent("POST", "/access/ticket") == 1
    assert pve.calls == 3


def test_a_token_goes_before_a_password(stock: Served) -> None:
    with Pve(stock.connection(password="wrong", user="root@pam")) as pve:
        assert pve.get("/nodes")
    assert stock.sent("POST") == 0


def test_an_expired_ticket_is_renewed_even_for_a_write(stock: Served) -> None:
    with Pve(by_password(stock)) as pve:
        pve.get("/nodes")
        stock.pve.revoke_tickets()
        assert pve.post("/nodes/pve1/qemu/100/status/stop").startswith("UPID:pve1:")
    assert stock.sent("POST", "/access/ticket") == 2


def test_an_old_ticket_is_renewed_before_it_expires(stock: Served) -> None:
    with Pve(by_password(stock)) as pve:
        pve.get("/nodes")
        session = next(iter(pve._sessions.values()))
        session.auth.birth_time = time.monotonic() - 4000  # type: ignore[union-attr]
        pve.get("/nodes")
        pve.get("/nodes")
    assert stock.sent("POST", "/access/ticket") == 2


@pytest.mark.parametrize(
    "changes", [{"token_secret": "nope"}, {"token_id": None, "user": "root@pam", "password": "no"}]
)
def test_wrong_credentials_are_forbidden_and_named(stock: Served, changes: dict[str, Any]) -> None:
    with Pve(stock.connection(**changes)) as pve, pytest.raises(Forbidden, match=r"root@pam.* was refused by 127"):
        pve.get("/nodes")


def test_a_second_factor_asks_for_a_token(stock: Served) -> None:
    stock.pve.tfa = True
    with Pve(by_password(stock)) as pve, pytest.raises(Forbidden, match="use an API token"):
        pve.get("/nodes")


def test_a_missing_privilege_is_forbidden_with_path_and_privilege(served: Served) -> None:
    served.pve.apitokens["planner@pve!ro"] = "x1"
    served.pve.grant("planner@pve!ro", "/", "VM.Audit")
    with Pve(served.connection(token_id="planner@pve!ro", token_secret="x1")) as pve:
        with pytest.raises(Forbidden, match=r"may not GET /cluster/ha/rules.*\(/, Sys.Audit\)"):
            pve.get("/cluster/ha/rules")
        with pytest.raises(Forbidden, match=r"may not POST /nodes/pve1/qemu/100/migrate.*VM.Migrate"):
            pve.post("/nodes/pve1/qemu/100/migrate", target="pve2", online=1)
        nodes = [row for row in pve.get("/cluster/resources") if row["type"] == "node"]
    assert nodes and all("maxmem" not in row for row in nodes)


# ------------------------------------------------------------------------- TLS


def test_a_ca_file_or_the_right_fingerprint_makes_a_host_trusted(stock: Served) -> None:
    for trust in ({}, {"ca_file": None, "fingerprint": stock.fingerprint}):
        for connection in (stock.connection(**trust), by_password(stock, **trust)):
            with Pve(connection) as pve:
                assert pve.get("/nodes")


def test_a_fingerprint_is_accepted_without_colons_and_in_small_letters(stock: Served) -> None:
    with Pve(stock.connection(ca_file=None, fingerprint=stock.fingerprint.replace(":", "").lower())) as pve:
        assert pve.get("/nodes")


@pytest.mark.parametrize("password", [None, PASSWORD])
def test_a_wrong_fingerprint_lets_no_credentials_out(stock: Served, password: str | None) -> None:
    trust = {"ca_file": None, "fingerprint": "ab" * 32}
    connection = by_password(stock, **trust) if password else stock.connection(**trust)
    with Pve(connection) as pve, pytest.raises(Unreachable, match=r"fingerprint in api\.fingerprint") as caught:
        pve.get("/nodes")
    assert not caught.value.sent
    assert stock.pve.requests == []


def test_an_untrusted_certificate_says_what_to_set(stock: Served) -> None:
    with Pve(stock.connection(ca_file=None)) as pve:
        for ask in (pve.get, pve.post):
            with pytest.raises(
                Unreachable, match=r"not trusted \(self.signed.*set api.ca_file or api.fingerprint"
            ) as e:
                ask("/nodes/pve1/qemu/100/status/stop")
            assert not e.value.sent
    assert stock.pve.requests == []


def test_no_verification_is_said_aloud_once(stock: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), Pve(stock.connection(ca_file=None, verify_tls=False)) as pve:
        pve.get("/nodes")
        pve.get("/nodes")
    (record,) = caplog.records
    assert record.name == "proxlb_plan" and "NOT verified" in record.message and stock.at in record.message


def test_a_port_without_tls_is_named(tmp_path: Path) -> None:
    with (
        plain_server(b"hello\r\n") as port,
        Pve(connection_to(port)) as pve,
        pytest.raises(Unreachable, match="TLS failed"),
    ):
        pve.get("/nodes")


# ----------------------------------------------------------------------- hosts


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("pve1", "https://pve1:8006"),
        (" pve1.example.org:443 ", "https://pve1.example.org:443"),
        ("10.0.0.1", "https://10.0.0.1:8006"),
        ("fe80::1", "https://[fe80::1]:8006"),
        ("[fe80::1]", "https://[fe80::1]:8006"),
        ("[fe80::1]:8007", "https://[fe80::1]:8007"),
        ("https://pve1:8006/", "https://pve1:8006"),
        ("https://[::1]:1", "https://[::1]:1"),
    ],
)
def test_hosts_are_read_in_every_usual_form(host: str, url: str) -> None:
    assert base_url(host) == url


@pytest.mark.parametrize("host", ["", "http://pve1", "pve1:x", "pve1:99999", "pve1/api2", "pve 1", "[::1", "a;b"])
def test_a_host_that_is_none_is_a_config_error(host: str) -> None:
    with pytest.raises(ConfigError, match=r"api\.hosts"):
        connection_to(hosts=(host,))


def test_an_ipv6_address_is_reached(tmp_path: Path) -> None:
    with serving(small_cluster(), tmp_path, host="::1") as server, Pve(server.connection()) as pve:
        assert len(pve.get("/nodes")) == 3


def test_a_read_goes_on_at_the_second_host_and_stays_there(served: Served) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with Pve(served.connection(hosts=(dead, served.at))) as pve:
        pve.get("/nodes")
        assert pve.calls == 2
        pve.get("/nodes")
        assert pve.calls == 3


def test_a_write_that_never_left_goes_to_the_second_host(served: Served) -> None:
    dead = f"127.0.0.1:{free_port()}"
    with Pve(served.connection(hosts=(dead, served.at))) as pve:
        pve.post("/nodes/pve1/qemu/100/migrate", target="pve2", online=True)
    assert served.pve.where()[100] == "pve2"


def test_every_host_is_listed_with_its_reason() -> None:
    hosts = (f"127.0.0.1:{free_port()}", "no-such-host.invalid")
    with Pve(connection_to(hosts=hosts, fingerprint="ab" * 32)) as pve:
        for ask in (pve.get, pve.post):
            with pytest.raises(Unreachable) as caught:
                ask("/nodes")
            assert f"{hosts[0]}: connection refused; {hosts[1]}:8006: no such host name" in str(caught.value)
            assert not caught.value.sent


def test_a_killed_server_is_unreachable_and_a_new_one_is_found_again(served: Served) -> None:
    with Pve(served.connection()) as pve:
        pve.get("/nodes")
        served.kill()
        with pytest.raises(Unreachable, match="no API host answered"):
            pve.get("/nodes")
        served.start()
        assert pve.get("/nodes")


def test_a_host_that_hangs_is_left_after_the_timeout(served: Served) -> None:
    served.pve.network["latency"], served.pve.time_scale = 3, 1
    with Pve(served.connection(timeout=0.2)) as pve:
        with pytest.raises(Unreachable, match="no answer in time"):
            pve.get("/nodes")
        with pytest.raises(Unreachable, match="look before repeating") as caught:
            pve.post("/nodes/pve1/qemu/100/migrate", target="pve2", online=1)
    assert caught.value.sent


# ------------------------------------------------------------- retries and faults


@pytest.mark.parametrize("status", [502, 503, 504, 595, 596, 599])
def test_a_read_is_repeated_after_a_passing_fault(served: Served, status: int) -> None:
    served.pve.fail("GET", "/nodes", status, "for now", times=1)
    with Pve(served.connection()) as pve:
        assert len(pve.get("/nodes")) == 3
        assert pve.calls == served.sent("GET", "/nodes") == 2


@pytest.mark.parametrize("status", [500, 502, 503, 504, 595, 596, 599])
def test_a_write_is_never_repeated(served: Served, status: int) -> None:
    path = "/nodes/pve1/qemu/100/migrate"
    served.pve.fail("POST", path, status, "for now", times=1)
    with (
        Pve(served.connection(hosts=(served.at, served.at.replace("127.0.0.1", "localhost")))) as pve,
        pytest.raises((Unreachable, ApiRefused)) as caught,
    ):
        pve.post(path, target="pve2", online=1)
    assert served.sent("POST") == 1
    assert getattr(caught.value, "sent", False) == (status not in (500, 595))


def test_an_answer_lost_in_a_write_is_uncertain_and_not_repeated(served: Served) -> None:
    with Pve(served.connection(hosts=(served.at, served.at.replace("127.0.0.1", "localhost")))) as pve:
        pve.get("/nodes")
        served.pve.flaky_network(drop_rate=1.0)
        before = pve.calls
        with pytest.raises(Unreachable, match="may have been carried out") as caught:
            pve.post("/nodes/pve1/qemu/100/migrate", target="pve2", online=1)
    assert caught.value.sent
    assert pve.calls == before + 1


def test_a_server_killed_during_a_write_leaves_it_uncertain(served: Served) -> None:
    served.pve.network["latency"], served.pve.time_scale = 5, 1
    with Pve(served.connection()) as pve:
        threading.Timer(0.3, served.kill).start()
        with pytest.raises(Unreachable, match="connection lost") as caught:
            pve.post("/nodes/pve1/qemu/100/migrate", target="pve2", online=1)
    assert caught.value.sent


def test_tls_that_breaks_after_a_write_leaves_it_uncertain_and_unrepeated(tmp_path: Path) -> None:
    with (
        replies(tmp_path, {"/x": (-1, "", b"")}) as (connection, seen),
        Pve(connection) as pve,
        pytest.raises(Unreachable, match="may have been carried out") as caught,
    ):
        pve.post("/x")
    assert caught.value.sent
    assert len(seen) == 1


def test_a_login_that_a_gateway_refuses_goes_on_at_the_second_host(stock: Served, tmp_path: Path) -> None:
    with replies(tmp_path, {"/access/ticket": (503, "busy", b"")}) as (busy, seen):
        connection = by_password(stock, hosts=(*busy.hosts, stock.at), verify_tls=False)
        with Pve(connection) as pve:
            assert pve.post("/nodes/pve1/qemu/100/status/stop").startswith("UPID:")
    assert len(seen) == 1


def test_python_truth_is_sent_as_pve_writes_it_and_none_not_at_all(tmp_path: Path) -> None:
    with replies(tmp_path, {"/x": (200, "OK", b'{"data": null}')}) as (connection, seen), Pve(connection) as pve:
        assert pve.post("/x", online=True, restart=False, **{"with-local-disks": None}) is None
    assert seen[0]["form"] == "online=1&restart=0"


def test_an_offline_node_is_named(served: Served) -> None:
    served.pve.set_node_offline("pve3")
    with Pve(served.connection()) as pve, pytest.raises(Unreachable, match=r"node pve3 is away.*595 No route to host"):
        pve.get("/nodes/pve3/tasks")


@pytest.mark.parametrize("status", [404, 501])
def test_an_unknown_path_is_refused_with_its_status(served: Served, status: int) -> None:
    served.pve.fail("GET", "/cluster/ha/rules", status, "Method 'GET /cluster/ha/rules' not implemented")
    with Pve(served.connection()) as pve, pytest.raises(ApiRefused, match="not implemented") as caught:
        pve.get("/cluster/ha/rules")
    assert caught.value.status == status


@pytest.mark.parametrize("status", [200, 401, 500])
def test_a_web_page_is_a_bad_answer(served: Served, status: int) -> None:
    served.pve.fail("GET", "/nodes", status, "<html>Sign in</html>", html=True)
    with Pve(served.connection()) as pve, pytest.raises(BadAnswer, match="answers GET /nodes with a web page"):
        pve.get("/nodes")


@pytest.mark.parametrize("body", [b"", b"not json", b"[1]", b"{}", b"\xff\xfe", b"null"])
def test_an_answer_that_is_not_the_apis_is_a_bad_answer(tmp_path: Path, body: bytes) -> None:
    with (
        replies(tmp_path, {"/nodes": (200, "OK", body)}) as (connection, _),
        Pve(connection) as pve,
        pytest.raises(BadAnswer, match="not JSON"),
    ):
        pve.get("/nodes")


def test_a_redirect_is_a_bad_answer(tmp_path: Path) -> None:
    with (
        replies(tmp_path, {"/nodes": (302, "Found", b"")}) as (connection, _),
        Pve(connection) as pve,
        pytest.raises(BadAnswer, match="redirect"),
    ):
        pve.get("/nodes")


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"data":null}', b'{"errors":"odd"}'])
def test_a_refusal_in_the_status_line_alone_is_understood(tmp_path: Path, body: bytes) -> None:
    with (
        replies(tmp_path, {"/nodes": (500, "got timeout", body)}) as (connection, _),
        Pve(connection) as pve,
        pytest.raises(ApiRefused, match=r"^GET /nodes: got timeout$"),
    ):
        pve.get("/nodes")


# --------------------------------------------------------------------- recorded


def recorded(verb: str) -> list[Any]:
    files = sorted(RECORDED.glob("*.json"))
    pairs = [(file.stem, json.loads(file.read_text())) for file in files]
    return [pytest.param(pair, id=stem) for stem, pair in pairs if pair["request"]["method"] == verb]


def replay(tmp_path: Path, pair: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Ask the client for the recorded request; what it returns, and the request as the server saw it."""
    request, body = pair["request"], json.dumps(pair["body"]).encode()
    with (
        replies(tmp_path, {request["path"]: (pair["status"], pair["reason"], body)}) as (connection, seen),
        Pve(connection) as pve,
    ):
        ask = pve.get if request["method"] == "GET" else pve.post
        return ask(request["path"], **request["data"]), seen[0]


@pytest.mark.parametrize("pair", recorded("GET"))
def test_every_recorded_read_comes_back_unchanged(tmp_path: Path, pair: dict[str, Any]) -> None:
    if pair["status"] == 200:
        data, _ = replay(tmp_path, pair)
        assert data == pair["body"]["data"]
    else:
        with pytest.raises(ApiRefused) as caught:
            replay(tmp_path, pair)
        assert caught.value.reason == pair["reason"]


@pytest.mark.parametrize("pair", recorded("POST"))
def test_every_recorded_write_is_sent_as_it_was_and_every_refusal_is_one_clear_line(
    tmp_path: Path, pair: dict[str, Any]
) -> None:
    if pair["status"] == 200:
        data, seen = replay(tmp_path, pair)
        assert data == pair["body"]["data"]
        assert seen["form"] == "&".join(f"{key}={value}" for key, value in pair["request"]["data"].items())
        return
    with pytest.raises(ApiRefused) as caught:
        replay(tmp_path, pair)
    message = str(caught.value)
    assert caught.value.status == pair["status"]
    assert message.startswith(f"POST {pair['request']['path']}: {pair['reason'].rstrip('.')}")
    assert "\n" not in message
    for name, text in pair["body"].get("errors", {}).items():
        assert f"{name}: {text}" in message


# ------------------------------------------------------------------------ tasks


def test_a_task_id_in_a_path_arrives_whole(stock: Served) -> None:
    with Pve(stock.connection()) as pve:
        upid = pve.post("/nodes/pve1/qemu/100/status/stop")
        assert "root@pam!t1" in upid
        assert pve.get(f"/nodes/pve1/tasks/{upid}/status")["exitstatus"] == "OK"
        assert pve.get(f"/nodes/pve1/tasks/{upid}/log", limit=500)


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hosts": ()}, r"api\.hosts is empty"),
        ({"hosts": ("https://root:hunter2@pve1",)}, "belong in api.user"),
        ({"token_secret": None}, "api.token_secret is missing"),
        ({"token_secret": "hunter2\n"}, "a line break"),
        ({"token_id": "root@pam!t1\n"}, "api.token_id has a blank"),
        ({"token_id": "t1", "user": "root"}, "give user and realm"),
        ({"token_id": None}, "no credentials"),
        ({"fingerprint": "ab:cd"}, "64 hex digits"),
        ({"timeout": 0}, "api.timeout"),
    ],
)
def test_what_can_never_work_is_a_config_error(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        connection_to(**changes)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_cannot_be_used_is_a_config_error(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "ca.pem"
    if content:
        file.write_text(content)
    with pytest.raises(ConfigError, match=r"api\.ca_file .*ca\.pem cannot be used"):
        Pve(connection_to(ca_file=str(file)))


def test_secrets_are_in_no_text_that_a_person_may_see(stock: Served, caplog: pytest.LogCaptureFixture) -> None:
    texts: list[str] = []
    stock.pve.password = "changed"  # the password is refused, the token is not
    changes: list[dict[str, Any]] = [{}, {"ca_file": None}, {"hosts": ("127.0.0.1:1",)}]
    with caplog.at_level(logging.DEBUG):
        for change in changes:
            for connection in (stock.connection(**change), by_password(stock, **change)):
                texts += [repr(connection), str(connection)]
                with Pve(connection) as pve:
                    texts += [repr(pve), str(vars(pve)["connection"])]
                    try:
                        pve.get("/nodes")
                    except PlannerError as error:
                        texts.append(str(error))
    shown = "\n".join([*texts, caplog.text])
    assert TOKEN_SECRET not in shown and PASSWORD not in shown


def test_a_connection_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        connection_to().user = "x"  # type: ignore[misc]


def test_many_threads_share_a_session(served: Served) -> None:
    with Pve(served.connection()) as pve:
        threads = [threading.Thread(target=pve.get, args=("/cluster/resources",)) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pve.calls == 24


# ---------------------------------------------------------------- the test cluster


def test_the_fake_cluster_moves_guest_and_load(served: Served) -> None:
    with Pve(served.connection()) as pve:
        before = node_rows(pve)
        upid = pve.post("/nodes/pve1/qemu/100/migrate", target="pve3", online=1)
        after = node_rows(pve)
        status = pve.get(f"/nodes/pve1/tasks/{upid}/status")
        tasks = pve.get("/cluster/tasks")
    assert status["exitstatus"] == "OK" and tasks[0]["upid"] == upid
    assert before["pve1"]["mem"] - after["pve1"]["mem"] == after["pve3"]["mem"] - before["pve3"]["mem"] == 4 * 1024**3
    assert after["pve3"]["cpu"] > before["pve3"]["cpu"]


@pytest.mark.parametrize("name", ["post_noonline", "post_self", "post_locked", "post_notarget", "post_nostorage"])
def test_the_fake_cluster_refuses_as_the_recorded_one(tmp_path: Path, name: str) -> None:
    pair = json.loads((RECORDED / f"{name}.json").read_text())
    with serving(from_recorded(), tmp_path) as server, Pve(server.connection()) as pve:
        vmid = pair["request"]["path"].split("/")[4]
        with pytest.raises(ApiRefused) as caught:
            pve.post(f"/nodes/{server.pve.where()[int(vmid)]}/qemu/{vmid}/migrate", **pair["request"]["data"])
    assert caught.value.status == pair["status"]
    assert caught.value.reason.startswith(pair["reason"].rstrip("."))


@pytest.mark.parametrize("vmid", [101, 105])
def test_the_fake_cluster_fails_a_task_that_pve_accepts(tmp_path: Path, vmid: int) -> None:
    with serving(from_recorded(), tmp_path) as server, Pve(server.connection()) as pve:
        source = server.pve.where()[vmid]
        upid = pve.post(f"/nodes/{source}/qemu/{vmid}/migrate", target="pve2", online=1)
        assert pve.get(f"/nodes/{source}/tasks/{upid}/status")["exitstatus"] == "migration aborted"
        assert server.pve.where()[vmid] == source


@pytest.mark.parametrize(("target", "arrives"), [("pve1", True), ("pve3", False)])
def test_the_fake_cluster_queues_migrations_of_ha_guests(tmp_path: Path, target: str, arrives: bool) -> None:
    cluster = from_recorded()
    cluster.time_scale, cluster.ha_delay, cluster.migration_secs = 0.01, 10, 5
    cluster.vm(102).node = "pve2"
    cluster.vm(103).node = "pve3"
    with serving(cluster, tmp_path) as server, Pve(server.connection()) as pve:
        upid = pve.post("/nodes/pve2/qemu/102/migrate", target=target, online=1)
        assert ":hamigrate:" in upid
        time.sleep(0.05)
        assert pve.get(f"/nodes/pve2/tasks/{upid}/status")["exitstatus"] == "OK"
        assert cluster.where()[102] == "pve2"
        time.sleep(0.4)
        assert cluster.where()[102] == (target if arrives else "pve2")


def test_a_container_needs_restart_and_is_down_on_the_way(served: Served) -> None:
    served.pve.time_scale, served.pve.migration_secs = 0.01, 20
    path = "/nodes/pve1/lxc/200/migrate"
    with Pve(served.connection()) as pve:
        with pytest.raises(ApiRefused, match="--online or --restart"):
            pve.post(path, target="pve2")
        upid = pve.post(path, target="pve2", restart=1)
        time.sleep(0.05)
        assert pve.get(f"/nodes/pve1/tasks/{upid}/status")["status"] == "running"
        assert next(row for row in pve.get("/cluster/resources") if row.get("vmid") == 200)["lock"] == "migrate"
        time.sleep(0.4)
    assert served.pve.where()[200] == "pve2" and served.pve.ct(200).status == "running"


def test_a_snapshot_becomes_a_cluster_that_answers_the_same(tmp_path: Path) -> None:
    rows = json.loads((RECORDED / "cluster_resources.json").read_text())["body"]["data"]
    with serving(from_recorded(), tmp_path) as server, Pve(server.connection()) as pve:
        got = {row["id"]: row for row in pve.get("/cluster/resources")}
        assert len(pve.get("/cluster/ha/rules")) == 2
    for row in rows:
        if row["type"] != "pool":
            assert {**got[row["id"]], "uptime": 0} == pytest.approx({**row, "uptime": 0})


def node_rows(pve: Pve) -> dict[str, dict[str, Any]]:
    return {row["node"]: row for row in pve.get("/nodes")}


def from_recorded() -> FakeCluster:
    files = [file for file in RECORDED.glob("*.json") if not file.stem.startswith(("offline", "cluster_resources_vm"))]
    pairs = [json.loads(file.read_text()) for file in files]
    good = [pair for pair in pairs if pair["request"]["method"] == "GET" and pair["status"] == 200]
    return FakeCluster().load({"answers": {pair["request"]["path"]: pair["body"]["data"] for pair in good}})


# ----------------------------------------------------------------------- helpers


def connection_to(port: int = 8006, **changes: Any) -> Connection:
    usual: dict[str, Any] = {"hosts": (f"127.0.0.1:{port}",), "token_id": "root@pam!t1", "token_secret": TOKEN_SECRET}
    return Connection(**(usual | changes))


class plain_server:
    """Answers every connection with the same bytes and no TLS."""

    def __init__(self, answer: bytes) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.thread = threading.Thread(target=self.serve, args=(answer,), daemon=True)

    def serve(self, answer: bytes) -> None:
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            with peer:
                peer.sendall(answer)

    def __enter__(self) -> int:
        self.thread.start()
        return int(self.socket.getsockname()[1])

    def __exit__(self, *_exc: object) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()


class replies:
    """A TLS server that gives fixed (status, reason, body) by path; yields a Connection and what it was asked."""

    def __init__(self, directory: Path, answers: dict[str, tuple[int, str, bytes]]) -> None:
        cert, key, _ = make_cert(str(directory))
        seen: list[dict[str, Any]] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                path = unquote(urlsplit(self.path).path).removeprefix("/api2/json")
                length = int(self.headers.get("content-length") or 0)
                seen.append({"path": path, "form": self.rfile.read(length).decode()})
                status, reason, body = answers[path]
                if status < 0:  # breaks the TLS session under the client's feet
                    os.write(self.connection.fileno(), b"HTTP/1.1 200 OK\r\n\r\n")
                    self.close_connection = True
                    return
                self.send_response(status, reason)
                if status == 302:
                    self.send_header("location", "/login")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.result = (connection_to(self.server.server_port, ca_file=cert), seen)

    def __enter__(self) -> tuple[Connection, list[dict[str, Any]]]:
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        return self.result

    def __exit__(self, *_exc: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
