"""Owns the Proxmox VE API over HTTPS: TLS, retries, failover, and foreign errors turned into ours."""

import json
import logging
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote

import requests
from proxmoxer.backends.https import (
    ProxmoxHTTPApiTokenAuth,
    ProxmoxHTTPAuth,
    ProxmoxHTTPAuthBase,
    ProxmoxHttpSession,
)
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from planner.connection import Connection, base_url
from planner.errors import ApiRefused, BadAnswer, ConfigError, Forbidden, PlannerError, Unreachable
from planner.unreached import reason

CONNECT_SECONDS = 5.0
POOL_SIZE = 32

# What stands between us and the node says so with these: a gateway, or pveproxy when it cannot reach another node.
NODE_AWAY = {595: "no connection", 596: "no proper answer", 599: "no answer"}
AWAY = frozenset({502, 503, 504, *NODE_AWAY})

logger = logging.getLogger("proxlb_plan")
# urllib3 reports each retry of a GET as a warning; what came of it is in our own message.
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: not str(record.msg).startswith("Retrying"))


class Pve:
    """A session with a cluster through its API hosts; may be used by several threads."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.calls = 0  # HTTP requests sent: logins and repetitions count
        self._urls = [base_url(host) for host in connection.hosts]
        self._first = 0
        self._sessions: dict[str, requests.Session] = {}
        self._login_lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._verify = _verification(connection)

    def __repr__(self) -> str:
        return f"Pve({self.connection.credentials} at {', '.join(map(_place, self._urls))})"

    def __enter__(self) -> "Pve":
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        with self._login_lock:
            while self._sessions:
                self._sessions.popitem()[1].close()

    def get(self, path: str, /, **params: Any) -> Any:
        """PVE's `data` for a path such as /cluster/resources (not URL-quoted), unchanged; repeated on other hosts."""
        return self._request("GET", path, params)

    def post(self, path: str, /, **data: Any) -> Any:
        """PVE's `data` for a write, which is sent at most once: Unreachable.sent tells that it may have arrived."""
        return self._request("POST", path, data)

    def ask_each(self, path: str) -> dict[str, Any]:
        """PVE's `data` for a path from every host, or the PlannerError that says why there is none."""
        answers: dict[str, Any] = {}
        for host, url in zip(self.connection.hosts, self._urls, strict=True):
            try:
                answer = self._ask(url, "GET", path, {})
                answers[host] = _data(answer, f"GET {path}", _place(url), self.connection.credentials)
            except _Down as down:
                answers[host] = Unreachable(f"{_place(url)}: {down.reason}")
            except PlannerError as error:
                answers[host] = error
        return answers

    def _request(self, method: str, path: str, values: dict[str, Any]) -> Any:
        form = {key: int(value) if isinstance(value, bool) else value for key, value in values.items()}
        failed: dict[str, _Down] = {}
        for index, url in self._in_order():
            try:
                answer = self._ask(url, method, path, form)
            except _Down as down:
                failed[url] = down
                if method != "GET" and not down.never_left:
                    break
            else:
                self._first = index
                return _data(answer, f"{method} {path}", _place(url), self.connection.credentials)
        _give_up(method, path, failed)

    def _in_order(self) -> Iterator[tuple[int, str]]:
        """The hosts, from the one that answered last."""
        count = len(self._urls)
        for index in (*range(self._first, count), *range(self._first)):
            yield index, self._urls[index]

    def _ask(self, url: str, method: str, path: str, form: dict[str, Any]) -> requests.Response:
        answer = self._send(url, method, path, form)
        if answer.status_code == 401 and not self.connection.token_name:
            # An old ticket; nothing was carried out, so this is no second try of a write.
            with self._login_lock:
                self._sessions.pop(url, None)
            answer = self._send(url, method, path, form)
        if answer.status_code in AWAY:
            raise _Down(f"{answer.status_code} {_words(answer)}", status=answer.status_code)
        return answer

    def _send(self, url: str, method: str, path: str, form: dict[str, Any]) -> requests.Response:
        session = self._session(url)
        where = f"{url}/api2/json/{quote(path.strip('/'))}"
        try:
            if method == "GET":
                return session.request(method, where, params=form)
            return session.request(method, where, data=form)
        except requests.TooManyRedirects as error:
            raise BadAnswer(f"{_place(url)} answers with a redirect: is it the Proxmox VE API?") from error
        except requests.RequestException as error:
            raise _down(error) from error

    def _session(self, url: str) -> requests.Session:
        """The session of a host, logged in; no request has been sent when this raises _Down."""
        with self._login_lock:
            if url not in self._sessions:
                try:
                    self._sessions[url] = self._open(url)
                except requests.RequestException as error:
                    raise _Down(_down(error).reason, never_left=True) from error
            return self._sessions[url]

    def _open(self, url: str) -> requests.Session:
        who = self.connection
        common = {"verify_ssl": self._verify, "timeout": (min(CONNECT_SECONDS, who.timeout), who.timeout)}
        if who.token_name:
            return self._new_session(ProxmoxHTTPApiTokenAuth(who.owner, who.token_name, who.token_secret, **common))
        plain = self._new_session(ProxmoxHTTPAuthBase(**common))
        return self._new_session(_Ticket(who, url, plain, **common))

    def _new_session(self, auth: requests.auth.AuthBase) -> requests.Session:
        session: requests.Session = ProxmoxHttpSession()
        session.auth = auth
        session.max_redirects = 0  # the API never redirects; what does is something else
        session.headers["accept"] = "application/json"
        session.mount("https://", _Adapter(self.connection.fingerprint, len(self._urls) == 1, self._count))
        return session

    def _count(self, sent: int) -> None:
        with self._count_lock:
            self.calls += sent


class _Ticket(ProxmoxHTTPAuth):  # type: ignore[misc]
    """A login by password over our own session (proxmoxer's own login knows no fingerprint), renewed under a lock."""

    def __init__(self, who: Connection, url: str, session: requests.Session, **common: Any) -> None:
        self._who, self._url, self._session, self._renewing = who, url, session, threading.Lock()
        self.birth_time = float("-inf")
        super().__init__(who.owner, who.password, base_url=f"{url}/api2/json", **common)

    def _get_new_tokens(self, password: str | None = None, otp: str | None = None, otptype: str | None = None) -> None:
        with self._renewing:
            if time.monotonic() - self.birth_time < self.renew_age:
                return
            form = {"username": self._who.owner, "password": self._who.password}
            answer = self._session.request("POST", f"{self.base_url}/access/ticket", data=form)
            if answer.status_code in AWAY:
                raise _Down(f"{answer.status_code} {_words(answer)}", never_left=True)
            data = _data(answer, "POST /access/ticket", _place(self._url), self._who.credentials)
            if not isinstance(data, dict) or "ticket" not in data:
                raise BadAnswer(f"{_place(self._url)} gave no ticket at login: is it the Proxmox VE API?")
            if data.get("NeedTFA"):
                raise Forbidden(f"{self._who.owner} needs a second factor to log in: use an API token instead")
            self.pve_auth_ticket, self.csrf_prevention_token = data["ticket"], data["CSRFPreventionToken"]
            self.birth_time = time.monotonic()


class _Adapter(HTTPAdapter):
    """Transport of one host: a pool for threads, GETs repeated, the fingerprint compared where one is set."""

    def __init__(self, fingerprint: str | None, only_host: bool, count: Callable[[int], None]) -> None:
        self._pin: dict[str, Any] = {"assert_fingerprint": fingerprint} if fingerprint else {}
        self._count = count
        # other=0: a TLS failure may come after a write was sent. With several hosts the next one is the retry.
        retry = Retry(total=2, connect=2 if only_host else 0, read=1, status=2, other=0, allowed_methods=["GET"],
                      status_forcelist=AWAY, raise_on_status=False, backoff_factor=0.3,
                      respect_retry_after_header=False)  # fmt: skip
        super().__init__(pool_maxsize=POOL_SIZE, pool_block=True, max_retries=retry)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._pin)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._pin)

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        self._count(1)
        response = super().send(*args, **kwargs)
        self._count(len(response.raw.retries.history) if response.raw.retries else 0)
        return response


class _Down(Exception):
    """One host gave no answer of its own; never_left is true only when the request surely was not sent."""

    def __init__(self, reason: str, *, never_left: bool = False, status: int | None = None) -> None:
        super().__init__(reason)
        self.reason, self.never_left, self.status = reason, never_left, status


def _verification(connection: Connection) -> bool | str:
    """What requests is to verify certificates with."""
    if connection.fingerprint:
        return False  # urllib3 compares the fingerprint instead
    if not connection.verify_tls:
        warnings.filterwarnings("ignore", message="Unverified HTTPS request")  # said once and by name below
        logger.warning("TLS certificates of %s are NOT verified: anybody on the network can read the credentials; "
                       "set api.ca_file or api.fingerprint", ", ".join(connection.hosts))  # fmt: skip
        return False
    if not connection.ca_file:
        return True
    try:
        if not Path(connection.ca_file).is_dir():
            ssl.create_default_context(cafile=connection.ca_file)
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror
        raise ConfigError(f"api.ca_file {connection.ca_file} cannot be used: {reason}") from error
    return connection.ca_file


def _down(error: requests.RequestException) -> _Down:
    words, never_left = reason(error, "set api.ca_file or api.fingerprint")
    return _Down(words, never_left=never_left)


def _give_up(method: str, path: str, failed: "dict[str, _Down]") -> NoReturn:
    """Raise the Unreachable that says what was tried."""
    tried = "; ".join(f"{_place(url)}: {down.reason}" for url, down in failed.items())
    last = list(failed.values())[-1]
    if method != "GET" and not last.never_left and last.status != 595:
        message = f"no certain answer to {method} {path} ({tried}): it may have been carried out, look before repeating"
        raise Unreachable(message, sent=True) from last
    if last.status in NODE_AWAY:
        node = path.strip("/").split("/")[1] if path.strip("/").startswith("nodes/") else "asked"
        raise Unreachable(f"node {node} is away: {NODE_AWAY[last.status]} for {method} {path} ({tried})") from last
    raise Unreachable(f"no API host answered: {tried}") from last


def _data(answer: requests.Response, asked: str, host: str, credentials: str) -> Any:
    """The `data` of an answer, or the error that its status means; `asked` is method and path."""
    if _is_html(answer):
        raise BadAnswer(f"{host} answers {asked} with a web page ({answer.status_code}): is it the Proxmox VE API?")
    if answer.status_code >= 400:
        _refuse(answer, asked, host, credentials)
    body = _json(answer)
    if not isinstance(body, dict) or "data" not in body:
        raise BadAnswer(
            f"{host} answers {asked} with something that is not JSON of the Proxmox VE API: check api.hosts"
        )
    return body["data"]


def _refuse(answer: requests.Response, asked: str, host: str, credentials: str) -> NoReturn:
    status, reason = answer.status_code, _words(answer)
    if status == 401:
        raise Forbidden(f"the {credentials} was refused by {host}: {reason}; check user, secret and expiry")
    if status == 403:
        raise Forbidden(f"the {credentials} may not {asked}: {reason}; grant the privilege to user and token")
    raise ApiRefused(f"{asked}: {reason}", status=status, reason=reason)


def _words(answer: requests.Response) -> str:
    """PVE's own words in one line: message and per-field errors; PVE 8 has the message in the status line only."""
    body = _json(answer)
    told = body if isinstance(body, dict) else {}
    errors = told.get("errors")
    fields = [f"{name}: {text}" for name, text in errors.items()] if isinstance(errors, dict) else []
    message = str(told.get("message") or answer.reason or "no reason given").strip()
    if fields:
        message = f"{message.rstrip('.')} ({'; '.join(fields)})"
    return " ".join(message.split())


def _json(answer: requests.Response) -> Any:
    try:
        return json.loads(answer.content)
    except (ValueError, RecursionError):
        return None


def _is_html(answer: requests.Response) -> bool:
    return "html" in answer.headers.get("content-type", "") or answer.content.lstrip()[:1] == b"<"


def _place(url: str) -> str:
    return url.removeprefix("https://")
