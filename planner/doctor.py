"""Owns what has to be so before a plan can be trusted: checks of a recorded cluster and of the connection to it."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from planner import access, collect, missing, names
from planner.cluster import Cluster
from planner.connection import Connection
from planner.errors import Exit, PlannerError, Unreachable
from planner.finding import Finding, Level, error, failure, listed, note, ok, warning
from planner.policy import Cluster as ClusterPolicy
from planner.policy import Policy
from planner.probe import Hosts, Nodes, Reading
from planner.snapshot import RESOURCES, RULES, Snapshot, rows

KNOWN_MAJORS = (8, 9)
CLOCKS_APART = 30.0
"""Seconds that clocks may differ: corosync, tickets and figures do not suffer from less."""
UNCONNECTED = "not checked without a connection: api.hosts, TLS, versions and clocks of the nodes"
PLACEHOLDER = ("USER@REALM", "NAME")
"""User and token in advice when nobody is connected."""


@dataclass(frozen=True, slots=True)
class Lack:
    """What comes of privileges that are not there; the last one says where it is held, by path."""

    level: Level
    without: str
    privileges: tuple[tuple[str, str], ...]


LACKS = (
    Lack(Level.ERROR, "Proxmox VE hides part of the cluster, and nothing is planned", collect.PRIVILEGES),
    Lack(Level.WARNING, "HA rules, quorum, storage or pools are not seen",
         (("Sys.Audit", "/"), ("Datastore.Audit", "/storage"), ("Pool.Audit", "/pool"))),
    Lack(Level.NOTE, "it can plan, but not apply", (("VM.Migrate", "/vms"),)),
)  # fmt: skip


def examine(
    cluster: Cluster, chosen: ClusterPolicy, policy: Policy, who: Connection | None = None, said: Nodes | None = None
) -> Iterator[Finding]:
    """All that a recorded cluster tells; with what its nodes said and who asked, if there is a connection."""
    yield from version(cluster.snapshot)
    if said is None:
        yield note(UNCONNECTED)
    else:
        yield from node_versions(online(cluster), said.versions)
        yield from clocks(said.clocks, online(cluster))
    yield from privileges(cluster.snapshot, who)
    yield from quorum(cluster.snapshot)
    yield from nodes(cluster)
    yield from figures(cluster.snapshot)
    yield from rebalance(cluster.snapshot)
    yield from unknown(cluster.snapshot)
    yield from names.settings(cluster, chosen, policy)
    yield from names.tags(cluster)
    yield from names.ha_rules(cluster)
    yield from guests(cluster)


def solvers() -> Iterator[Finding]:
    """Whether the exact solver is there; the others do without OR-Tools."""
    if not missing.has_ortools():
        others = "or do without: --solver descent, and run.solver: descent in the settings"
        what = "OR-Tools is not installed: cpsat, frontier and consolidate need it"
        yield warning(what, f"pip install '{missing.ORTOOLS}'", others)


def online(cluster: Cluster) -> list[str]:
    """Names of the nodes that are up."""
    return [str(name) for name in cluster.nodes["node"][cluster.nodes["status"] == "online"]]


# Connection


def hosts(told: Hosts) -> Iterator[Finding]:
    """Each entry of api.hosts; one that is not reached matters less while another is."""
    reached = any(isinstance(answer, str) for answer in told.values())
    for host, answer in told.items():
        if isinstance(answer, str):
            yield ok(f"api host {host} answers: Proxmox VE {answer}")
        elif isinstance(answer, Unreachable) and reached:
            yield warning(f"api host {answer}", _reaching(host, answer))
        elif isinstance(answer, Unreachable):
            yield Finding(Level.ERROR, f"api host {answer}", (_reaching(host, answer),), answer.exit_code)
        else:
            yield failure(answer)


def _reaching(host: str, problem: PlannerError) -> str:
    text = str(problem)
    if "no such host name" in text:
        return f"correct {host} in api.hosts, or give an address"
    if "fingerprint in api.fingerprint" in text:
        return "each node has a certificate of its own: with several hosts set api.ca_file instead"
    if "not trusted" in text:
        return "copy /etc/pve/pve-root-ca.pem from a node and name the copy in api.ca_file"
    return "is the node up, and do firewalls let its port (8006 unless api.hosts says otherwise) through?"


def trust(who: Connection) -> Finding:
    """What protects the credentials on their way."""
    if who.fingerprint:
        return ok("TLS: the certificate must have the fingerprint in api.fingerprint")
    if who.verify_tls:
        return ok(f"TLS: certificates are verified{f' by {who.ca_file}' if who.ca_file else ''}")
    advice = "copy /etc/pve/pve-root-ca.pem from a node, name the copy in api.ca_file and drop api.verify_tls"
    return warning("TLS: certificates are not verified: anybody on the network can read the credentials", advice)


def version(snapshot: Snapshot) -> Iterator[Finding]:
    """Releases that the planner was made for."""
    answer = snapshot.get("/version")
    text = str(answer.get("version") or "") if isinstance(answer, dict) else ""
    major = text.partition(".")[0]
    if not text:
        yield note("the version of Proxmox VE is not known")
    elif major.isdecimal() and int(major) in KNOWN_MAJORS:
        yield ok(f"Proxmox VE {text}")
    else:
        yield warning(f"Proxmox VE {text} is not known to the planner: it is made for 8 and 9")


def node_versions(asked: Iterable[str], versions: Mapping[str, str]) -> Iterator[Finding]:
    """Live migration goes from old to new only."""
    silent = [node for node in asked if node not in versions]
    by_version: dict[str, list[str]] = {}
    for node, text in sorted(versions.items()):
        by_version.setdefault(text, []).append(node)
    if len(by_version) > 1:
        each = "; ".join(f"{text} on {listed(there)}" for text, there in sorted(by_version.items()))
        advice = "live migration from a newer to an older version can fail: bring all nodes to the same version"
        yield warning(f"nodes have different versions: {each}", advice)
    elif by_version:
        yield ok(f"{len(versions)} nodes have the same version")
    if silent:
        yield note(f"versions are not known of {listed(silent)}")


def clocks(readings: Mapping[str, Reading], asked: Iterable[str]) -> Iterator[Finding]:
    """Clocks of nodes against each other and against ours, as far as the answers' way leaves no doubt."""
    silent = [node for node in asked if node not in readings]
    if silent:
        yield note(f"clocks are not known of {listed(silent)}", "it takes Sys.Audit on /nodes")
    if not readings:
        return
    slow, fast = (choose(readings, key=lambda node: readings[node].ahead) for choose in (min, max))
    apart = readings[fast].ahead - readings[slow].ahead
    mend = "mend time synchronisation: `chronyc tracking` on a node, `timedatectl` elsewhere, shows it"
    if apart - readings[fast].doubt - readings[slow].doubt > CLOCKS_APART:
        yield warning(f"the clock of {fast} is {apart:.0f} s ahead of the one of {slow}", mend)
        return
    worst = max(readings.values(), key=lambda one: abs(one.ahead) - one.doubt)
    if abs(worst.ahead) - worst.doubt > CLOCKS_APART:
        where = "behind" if worst.ahead > 0 else "ahead of"
        yield warning(f"the clock of this machine is {abs(worst.ahead):.0f} s {where} those of the nodes", mend)
    else:
        yield ok(f"clocks agree within {CLOCKS_APART:g} s")


# What the token may see and do


def privileges(snapshot: Snapshot, who: Connection | None = None) -> Iterator[Finding]:
    """What the user or token lacks, by what comes of it, with the commands that grant it."""
    answer = snapshot.get(access.PATH)
    if answer is None:
        return
    held = access.read(answer)
    user, token = (who.owner, who.token_name or "") if who else PLACEHOLDER
    found = [finding for lack in LACKS for finding in _lack(lack, held, user, token)]
    yield from found or [ok(f"the {'token' if token else 'user'} has every privilege to plan and to apply")]


def _lack(lack: Lack, held: access.Permissions, user: str, token: str) -> Iterator[Finding]:
    missing: dict[str, list[str]] = {}
    for privilege, root in lack.privileges:
        held_here = root == "/" and access.holds(held, privilege, root)
        path = "" if held_here else access.lacking(held, privilege, root)
        if path:
            missing.setdefault(path, []).append(privilege)
    if not missing:
        return
    wanted = " ".join(dict.fromkeys(name for privileges in missing.values() for name in privileges))
    what = ", ".join(f"{' and '.join(privileges)} on {path}" for path, privileges in missing.items())
    advice = [
        f'pveum role add {access.ROLE} --privs "{" ".join(access.PRIVILEGES)}"',
        f'pveum role modify {access.ROLE} --append 1 --privs "{wanted}"   # where the role exists already',
        *(line for path in missing for line in access.grants(path, user, token)),
    ]
    if token:
        advice.append("A token with privilege separation needs both; one without has what its user has.")
    kind = "token" if token else "user"
    yield Finding(lack.level, f"the {kind} lacks {what}: {lack.without}", tuple(advice), Exit.ERROR)


# State of the cluster


def quorum(snapshot: Snapshot) -> Iterator[Finding]:
    """Without it Proxmox VE refuses every migration."""
    answer = snapshot.get("/cluster/status")
    for row in rows([] if answer is None else answer, "/cluster/status"):
        if row.get("type") == "cluster" and str(row.get("quorate")) == "0":
            advice = "bring nodes back, or their network: `pvecm status` shows who is missing"
            yield error("the cluster has no quorum: Proxmox VE refuses every migration", advice)
        elif row.get("type") == "cluster":
            yield ok(f"cluster {row.get('name')} has quorum")


def nodes(cluster: Cluster) -> Iterator[Finding]:
    """Nodes that are down or being emptied, and whether there is anything to balance between."""
    up = online(cluster)
    for row in cluster.nodes.itertuples():
        if row.status != "online":
            yield warning(f"node {row.node} is {row.status}: it and its guests are left alone")
        elif row.maintenance:
            yield note(f"node {row.node} is in maintenance: it is emptied and receives nothing",
                       f"ha-manager crm-command node-maintenance disable {row.node}   # when it is over")  # fmt: skip
    if len(up) < 2:
        yield warning(f"only {len(up)} node is online: there is nothing to balance between")
    else:
        yield ok(f"{len(up)} of {len(cluster.nodes)} nodes are online")


def figures(snapshot: Snapshot) -> Iterator[Finding]:
    """Nodes whose load is not told; where the cluster's status daemon hangs, the token is not to blame."""
    shown = [row for row in rows(snapshot.get(RESOURCES), RESOURCES) if row.get("type") == "node"]
    blind = [row.get("node") for row in shown if row.get("status") == "online" and not collect.has_figures(row)]
    if blind:
        advice = "give the token Sys.Audit on /nodes; if it has that: `systemctl restart pvestatd` on the node"
        yield error(f"CPU or memory is not known of {listed(sorted(map(str, blind)))}", advice)


def rebalance(snapshot: Snapshot) -> Iterator[Finding]:
    """Two that balance undo each other's work."""
    crs = collect.scheduling(snapshot)
    if str(crs.get("ha-auto-rebalance", 0)) not in ("0", "", "None", "False"):
        keep = ",".join(f"{name}={value}" for name, value in (crs | {"ha-auto-rebalance": 0}).items())
        what = "Proxmox VE balances HA guests itself (crs ha-auto-rebalance): each may undo the other's work"
        yield warning(what, f"pvesh set /cluster/options --crs {shlex.quote(keep)}")


def unknown(snapshot: Snapshot) -> Iterator[Finding]:
    """Answers that are missing; those for HA rules have a check of their own."""
    return (note(text) for path, text in collect.UNKNOWN.items() if path != RULES and snapshot.get(path) is None)


def guests(cluster: Cluster) -> Iterator[Finding]:
    """How many there are, and how many of them cannot be migrated for now."""
    frame = cluster.guests
    locked: Any = frame[frame["lock"] != ""]
    lost: Any = frame[frame["status"] == "unknown"]
    yield ok(f"{len(frame)} guests")
    if len(locked):
        why = listed(sorted(set(locked["lock"])))
        advice = "a lock ends with its task; one that was left behind: `qm unlock VMID` or `pct unlock VMID`"
        yield note(f"{len(locked)} guests are locked ({why}): {listed(locked['vmid'])}", advice)
    if len(lost):
        yield note(f"{len(lost)} guests have an unknown status: {listed(lost['vmid'])}")
