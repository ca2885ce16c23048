"""Owns what must be true before a run and before each of its migrations, by fresh answers of the cluster."""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from planner import collect, preconditions, returns, running, snapshot
from planner.admission import Admission
from planner.arrival import obstacle
from planner.assumptions import check_assumptions, rules_in_force
from planner.clock import Clock
from planner.cluster import Cluster
from planner.errors import Drift, Locked, NoQuorum, StalePlan
from planner.formulate import formulate
from planner.periods import without_history
from planner.plan import Migration, Plan
from planner.policy import Apply, Policy, Unless
from planner.policy import Cluster as ClusterPolicy
from planner.rule import Kind
from planner.rules import NodeState, Rules
from planner.run import Moved
from planner.snapshot import Source, rows
from planner.underway import OwnUse, Trip

NO_QUORUM = "the cluster has no quorum, Proxmox VE migrates nothing: see pvecm status on its nodes"
LAG = 20.0
"""Seconds after which Proxmox VE's figures (a cycle of 10 s) surely show where a guest is."""
ON_THE_WAY = ("migrate", "relocate")
"""States of a guest that the HA manager is taking elsewhere."""


def content(cluster: Cluster, ours: Collection[int]) -> None:
    """Has nothing to say against a migration."""


class Gate:
    """Says no with a PlannerError of one line; asks, and changes nothing.

    `settings` and `policy` are those of today, measuring what the plan measured (`Session.judging`). `me`: who we are
    in the names of tasks (`Connection.identity`), empty where that is not known. `also`: what else says no; `now`: unix
    seconds.
    """

    def __init__(
        self, source: Source, plan: Plan, policy: Policy, settings: ClusterPolicy, apply: Apply, *, clock: Clock,
        me: str = "", also: Callable[[Cluster, Collection[int]], None] = content, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._source, self._plan, self._settings = source, plan, settings
        self._policy = without_history(policy)  # it is asked about rules and room alone
        self._apply, self._clock, self._me, self._also, self._now = apply, clock, me, also, now
        self._own_use = OwnUse()
        self._seen: dict[int, Migration] = {}
        """By number, migrations that were under way when last looked..."""
        self._ended: dict[int, tuple[float, Migration]] = {}
        """...and those that were no longer, with when that was found."""

    def before_run(
        self, now: float, *, moved: Iterable[Moved] = (), known: Collection[str] = (),
        done: Collection[Migration] = (), under_way: Collection[Migration] = (),
    ) -> None:  # fmt: skip
        """StalePlan, Locked or another PlannerError when the run must not begin, or go on.

        `now`: unix seconds; `moved`: what earlier runs carried out within `returns.memory`, empty for a rollback;
        `known`: tasks that are ours. Of a run that is resumed: `done`, and `under_way` with what was started.
        """
        cluster = self._look(under_way)
        check_assumptions(
            self._plan, cluster, self._settings, done=done, under_way=under_way, on_drift=self._apply.on_drift
        )
        _check_quorum(cluster)
        self._also(cluster, self._ours(under_way))
        self._check_alone(cluster, known, under_way)
        over = {migration.number for migration in done}
        left = [migration for migration in self._plan.migrations if migration.number not in over]
        self._check_balancer(cluster, left)
        returns.check(self._plan, moved, now, self._apply)

    def check(self, migration: Migration, under_way: Sequence[Migration]) -> None:
        """Drift, Locked or another PlannerError when a migration must not start beside those that are under way."""
        for memory in (self._seen, self._ended):
            memory.pop(migration.number, None)  # it was let through before, and did not start
        cluster = self._look(under_way)
        _check_quorum(cluster)
        self._also(cluster, self._ours(under_way))
        rules = rules_in_force(self._plan, cluster, self._settings)
        _check_guest(migration, cluster, rules)
        _check_target(migration, rules)
        self._check_balancer(cluster, [migration])
        cluster = self._asked(cluster, migration, under_way)
        self._check_admitted(migration, cluster)
        free = rules.without([*self._plan.lifted, *(rule.name for rule in rules.items if rule.price)])
        why = obstacle(formulate(cluster, free, self._policy), migration, under_way)
        if why:
            raise Drift(f"{_named(migration)} cannot go to {migration.target} now: {why}: make a new plan")
        self._seen[migration.number] = migration

    def _look(self, under_way: Collection[Migration]) -> Cluster:
        """The cluster as it is now, less what its figures count twice."""
        taken = snapshot.take(self._source, now=datetime.fromtimestamp(self._now(), UTC))
        if self._policy.reclaim_arc:
            taken = snapshot.with_last_hour(taken, self._source)
        now = self._clock.now()
        current = {migration.number: migration for migration in under_way}
        gone = {number: (now, one) for number, one in self._seen.items() if number not in current}
        self._ended = {n: ended for n, ended in (self._ended | gone).items() if now - ended[0] < LAG}
        self._seen = current
        lately = [migration for _, migration in self._ended.values()]
        trips = [Trip(one.vmid, one.source, one.target) for one in (*under_way, *lately)]
        return self._own_use.corrected(collect.collect(taken), trips)

    def _ours(self, under_way: Collection[Migration]) -> set[int]:
        """Guests that are on their way for this run, or were just now, with those that the HA manager takes along."""
        begun = [*under_way, *(migration for _, migration in self._ended.values())]
        bundles = {migration.bundle for migration in begun if migration.bundle}
        return {m.vmid for m in self._plan.migrations if m.bundle in bundles} | {m.vmid for m in begun}

    def _check_alone(self, cluster: Cluster, known: Collection[str], under_way: Collection[Migration]) -> None:
        """Locked when somebody else migrates a guest of the plan, or another run of ours is at work."""
        ours = self._ours(under_way)
        planned = {migration.vmid for migration in self._plan.migrations}
        for task in running.migrations(cluster.snapshot):
            if task.upid in known or task.vmid in ours:
                continue
            if task.vmid in planned or (self._me and task.user == self._me):
                what = "of the plan " if task.vmid in planned else ""
                by = f"{task.user}, as another run" if task.user == self._me else task.user
                raise Locked(
                    f"guest {task.vmid} {what}is being migrated by {by} (task {task.upid}): wait for that to end"
                )
        states = zip(map(int, cluster.guests["vmid"]), map(str, cluster.guests["ha_state"]), strict=True)
        for vmid, state in states:
            if vmid in planned - ours and state in ON_THE_WAY:
                raise Locked(
                    f"guest {vmid} of the plan is being taken elsewhere by the HA manager: wait for that to end"
                )

    def _check_balancer(self, cluster: Cluster, migrations: Iterable[Migration]) -> None:
        """StalePlan where Proxmox VE balances guests of these itself: each would undo the other's work."""
        if self._policy.with_ha_guests or not collect.rebalances(cluster.snapshot):
            return
        managed = set(map(int, cluster.guests["vmid"][cluster.guests["ha_state"] != ""]))
        for migration in migrations:
            if migration.vmid in managed:
                raise StalePlan(
                    f"Proxmox VE balances HA guests itself (crs ha-auto-rebalance), and the plan migrates "
                    f"{_named(migration)}: make a new plan, or say --with-ha-guests"
                )

    def _asked(self, cluster: Cluster, migration: Migration, under_way: Collection[Migration]) -> Cluster:
        """With what Proxmox VE says now about migrating the guest, and those that travel with it and have not begun."""
        begun = {one.vmid for one in under_way}
        vmids = {migration.vmid} | {
            mate.vmid
            for mate in self._plan.migrations
            if migration.bundle and (mate.bundle, mate.target) == (migration.bundle, migration.target)
        }
        guests = cluster.guests[
            cluster.guests["vmid"].isin(vmids - begun) & (cluster.guests["node"] == migration.source)
        ]
        taken = cluster.snapshot
        taken = preconditions.with_answers(taken, preconditions.ask(self._source, guests, ()))
        cpus = preconditions.ask_cpus(self._source, cluster, guests, taken.answers)
        return replace(cluster, snapshot=preconditions.with_answers(taken, cpus))

    def _check_admitted(self, migration: Migration, cluster: Cluster) -> None:
        """What Proxmox VE says of the guest itself and its target."""
        guests = cluster.guests[cluster.guests["vmid"] == migration.vmid]
        said = preconditions.read(cluster.snapshot, guests, cluster.nodes["node"]).get(migration.vmid, Admission())
        if said.fixed:
            if preconditions.LOCKED.search(said.fixed):
                raise Locked(f"{_named(migration)} cannot be migrated now: {said.fixed}")
            raise Drift(f"{_named(migration)} can no longer be migrated: {said.fixed}: make a new plan")
        if migration.target in said.barred:
            barred = said.barred[migration.target]
            raise Drift(f"{_named(migration)} may no longer go to {migration.target}: {barred}: make a new plan")
        if said.local_mib and not migration.local_disk_mib:
            raise Drift(f"{_named(migration)} has local disks, of which the plan does not know: make a new plan")


def has_quorum(cluster: Cluster) -> bool:
    """Whether the cluster has one, or does not say that it has none."""
    told = rows(cluster.snapshot.get("/cluster/status") or [], "/cluster/status")
    return not any(row.get("type") == "cluster" and str(row.get("quorate")) == "0" for row in told)


def _check_quorum(cluster: Cluster) -> None:
    if not has_quorum(cluster):
        raise NoQuorum(NO_QUORUM)


def _check_guest(migration: Migration, cluster: Cluster, rules: Rules) -> None:
    """The guest is the one that was planned with, where it was, as it was, and nobody is at work on it."""
    found = cluster.guests[cluster.guests["vmid"] == migration.vmid]
    row: Any = next(found.itertuples(), None)
    wrong = "is gone" if row is None else _difference(migration, row, rules)
    if wrong:
        raise Drift(f"{_named(migration)} {wrong}: make a new plan")
    if row.lock == "backup":
        raise Locked(f"{_named(migration)} is being backed up: wait for that to end")
    if row.lock or row.ha_state in ON_THE_WAY:
        raise Locked(f"{_named(migration)} is locked ({row.lock or row.ha_state}): wait for that to end")
    for task in running.backups(cluster.snapshot):
        if task.vmid == migration.vmid:
            raise Locked(f"{_named(migration)} is being backed up (task {task.upid}): wait for that to end")


def _difference(migration: Migration, row: Any, rules: Rules) -> str:
    if row.type != migration.type:
        return f"is another one: a {row.type}, not a {migration.type}"
    if row.node != migration.source:
        return f"is on {row.node}, not on {migration.source}"
    if rules.states[row.node] in (NodeState.OFFLINE, NodeState.IGNORED):
        return f"is on node {row.node}, which is {rules.states[row.node].value}"
    if (row.status != "stopped") != migration.running:
        return "was stopped" if migration.running else "was started"
    for rule in rules.items:
        if rule.kind is Kind.IGNORE and rule.unless is Unless.NEVER and migration.vmid in rule.vmids:
            return f"shall stay where it is ({rule.name})"
    return ""


def _check_target(migration: Migration, rules: Rules) -> None:
    """The target is a node that may receive guests: Proxmox VE itself does not check whether it is online."""
    state = rules.states.get(migration.target)
    if state is None or state is not NodeState.BALANCED:
        is_now = "is gone" if state is None else f"is {'in ' if state is NodeState.MAINTENANCE else ''}{state.value}"
        raise Drift(f"{_named(migration)} cannot go to node {migration.target}, which {is_now}: make a new plan")


def _named(migration: Migration) -> str:
    return f"guest {migration.vmid} ({migration.name})" if migration.name else f"guest {migration.vmid}"
