"""Owns one scheduled look: gather, plan, ask the gates, carry out or propose, record."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from planner import collect, conduct, gates, planning
from planner.assumptions import check_assumptions
from planner.choices import RunMode
from planner.clock import Clock
from planner.cluster import Cluster
from planner.errors import Exit, JournalError, Locked, PlannerError, StalePlan, internal
from planner.gates import Scene
from planner.interrupt import heeded
from planner.lock import holder
from planner.look import GateName, Load, Look, Outcome, Refusal
from planner.plan import Migration, Plan, PlanStatus
from planner.run import RunRecord, RunState, Step
from planner.runs import Runs, unsettled
from planner.service import Run
from planner.session import Session
from planner.site import Site
from planner.standing import standby
from planner.state import UNNAMED, cluster_name
from planner.times import Hours, span, until
from planner.watch import Lines, Watch, say
from solvers import Budget

DAY = 24 * 3600.0
MEMORY = DAY
"""Seconds for which a look that found the cluster out of balance counts for those that follow."""
REPLACED = "another plan was proposed"
NOTHING = "no plan within the rules and limits is better than what is"


class ToldToEnd(Exception):
    """The end was asked for before anything was migrated."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A look, and the code with which a process ends that has taken it alone."""

    look: Look
    exit_code: int


@dataclass(frozen=True, slots=True)
class Lookout:
    """Takes looks at one cluster, one after the other."""

    settings: Run
    session: Session
    runs: Runs
    now: Callable[[], float]
    """Unix seconds."""
    say: Callable[[str], None] = say
    heed: Callable[[], AbstractContextManager[Callable[[], bool]]] = heeded
    """See `Site`."""
    stop: Callable[[], bool] = lambda: False
    """Whether the end was asked for: then nothing new is begun."""

    def look(self) -> Taken:
        """One look, which is in the journal afterwards. ToldToEnd; KeyboardInterrupt when it is left at once.

        Whatever a cluster or its API do ends in a look that says so.
        """
        began, plan, code = self.now(), None, int(Exit.OK)
        name = UNNAMED
        try:
            name = cluster_name(self.session.writable())
            look, plan, code = self._looked(name)
        except PlannerError as error:
            look, code = self._blind(name, str(error)), int(error.exit_code)
        except ToldToEnd:
            raise
        except Exception as error:  # it must not keep later looks from being taken, and is told as any other
            look, code = self._blind(name, internal(error)), int(Exit.ERROR)
        look = replace(look, at=began, seconds=self.now() - began)
        return Taken(self._recorded(look, plan), code)

    def _looked(self, name: str) -> tuple[Look, Plan | None, int]:
        site = self._site(name)
        if why := standby(self.settings, site.session.writable()):
            refused = (Refusal(GateName.ACTIVE, why),)
            return self._empty(name, Outcome.STANDBY, why=why, refusals=refused), None, Exit.OK
        if self.settings.mode is not RunMode.OBSERVE:
            self._clear(site)
        scene = self._scene(name)
        look = _seen(scene, name, self.settings)
        if self.stop():
            raise ToldToEnd
        return self._act(site, scene, look)

    # What is seen

    def _scene(self, name: str) -> Scene:
        """The cluster as it is now, and a plan for it within what may still be migrated today."""
        session, at, journal = self.session, self.now(), self.runs.journal
        taken = session.snapshot(datetime.fromtimestamp(at, UTC))
        lately = journal.moved(name, at - max(DAY, session.apply.no_return * 3600.0))
        cluster = replace(collect.collect(taken), moved=lately)
        started = journal.started(name, at - DAY)
        left = gates.budget(self.settings, started, at)
        policy = session.policy
        if left:
            most = left if policy.max_migrations is None else min(left, policy.max_migrations)
            session = replace(session, policy=replace(policy, max_migrations=most))
        plan = self._planned(session, cluster)
        many = 1 + journal.looks.above(name, at - MEMORY) if _is_above(session, cluster, plan) else 0
        held = holder(self.runs.directory, name) if self.runs.directory else None
        return Scene(self.settings, session, cluster, plan, at, many, tuple(journal.open(name)), held, started)

    def _planned(self, session: Session, cluster: Cluster) -> Plan:
        policy = session.policy
        budget = Budget(seconds=policy.time_limit, seed=policy.seed, stop=self.stop)
        return planning.checked_plan(
            cluster, policy, session.settings, self.settings.solver, budget, session.source, (), session.apply
        )

    # What comes of it

    def _act(self, site: Site, scene: Scene, look: Look) -> tuple[Look, Plan | None, int]:
        """Ask the gates; where they say no to balance alone, rules are repaired nevertheless."""
        plan = scene.plan
        if plan.status is PlanStatus.NO_ACTION:
            self._withdraw(site.cluster, "it is no longer needed")
            return replace(look, outcome=Outcome.BALANCED, why="within balanciness, no rule is broken"), plan, Exit.OK
        no = _nothing(plan) or gates.refusals(scene)
        if no and scene.repairs and {refusal.gate for refusal in no} <= gates.OF_BALANCE:
            session = replace(scene.session, policy=replace(scene.session.policy, repair_only=True))
            scene = replace(scene, session=session, plan=self._planned(session, scene.cluster))
            plan, look = scene.plan, replace(_seen(scene, site.cluster, self.settings), above=look.above)
            no = _nothing(plan)
        if no:
            return replace(look, outcome=Outcome.REFUSED, why=no[0].why, refusals=no), plan, Exit.OK
        acts = {RunMode.OBSERVE: self._observe, RunMode.APPROVE: self._propose, RunMode.AUTO: self._apply}
        look, code = acts[self.settings.mode](site, scene, look)
        return look, plan, code

    def _observe(self, site: Site, scene: Scene, look: Look) -> tuple[Look, int]:
        return replace(look, outcome=Outcome.OBSERVED, why="nothing is changed in mode observe (run.mode)"), Exit.OK

    def _propose(self, site: Site, scene: Scene, look: Look) -> tuple[Look, int]:
        """Keep a plan that waits as long as it holds: a person is to approve of what they have read."""
        journal, at = self.runs.journal, self.now()
        waiting = journal.proposed(site.cluster)
        if waiting is not None and self._holds(waiting, scene):
            why = f"run {waiting.id} waits to be approved: `proxlb-plan approve {waiting.id}`"
            return replace(look, outcome=Outcome.PROPOSED, why=why, run=waiting.id), Exit.OK
        self._withdraw(site.cluster, REPLACED)
        run = journal.begin(scene.plan, site.cluster, at, "scheduled", state=RunState.PROPOSED)
        why = f"run {run} waits to be approved: `proxlb-plan approve {run}`"
        return replace(look, outcome=Outcome.PROPOSED, why=why, run=run), Exit.OK

    def _holds(self, waiting: RunRecord, scene: Scene) -> bool:
        if not waiting.readable or self.now() - waiting.began_at > span(self.settings.valid):
            return False
        try:
            check_assumptions(waiting.plan, scene.cluster, scene.session.settings)
        except StalePlan:
            return False
        return True

    def _withdraw(self, name: str, why: str) -> None:
        """A plan that waits is not to be approved any more."""
        journal = self.runs.journal
        if self.settings.mode is not RunMode.OBSERVE and (waiting := journal.proposed(name)):
            journal.withdraw(waiting.id, self.now(), why)

    def _apply(self, site: Site, scene: Scene, look: Look) -> tuple[Look, int]:
        self._withdraw(site.cluster, "plans are carried out without being asked for (run.mode is auto)")
        try:
            with at_work(self.settings, site) as work:
                run = work.begin(scene.plan, "scheduled")
                return self._carry_out(work, run, look)
        except (Locked, StalePlan) as error:
            gate = GateName.LOCK if isinstance(error, Locked) else GateName.PLAN
            no = (Refusal(gate, str(error)),)
            return replace(look, outcome=Outcome.REFUSED, why=str(error), refusals=no), Exit.OK

    def _carry_out(self, work: conduct.Work, run: int, look: Look) -> tuple[Look, int]:
        journal = self.runs.journal
        try:
            ended = work.carry_out(run)
        except KeyboardInterrupt:
            if self.stop():  # what is under way is left to Proxmox VE: the next look finds it
                why = "told to end: what is under way goes on in the cluster, and the next look finds it"
                return _of_run(look, journal.run(run), Outcome.PARTLY, why), Exit.INTERRUPTED
            raise
        record = journal.run(run)
        if record.state is RunState.STOPPED and not unsettled(record):
            journal.abandon(run, self.now(), record.why)
        outcome = _outcome(record, ended.error)
        return _of_run(look, record, outcome, record.why), Exit.OK if outcome is Outcome.DONE else ended.exit_code

    def _clear(self, site: Site) -> None:
        """Find out what became of a run that was left under way, wait for that, and end it: a new plan follows.

        A run that a person has begun waits for that person.
        """
        for record in list(self.runs.journal.open(site.cluster)):
            if record.kind != "scheduled":
                continue
            with contextlib.suppress(Locked), at_work(self.settings, site) as work:
                self.say(f"run {record.id} was interrupted: what became of it is found out")
                work.abort(record.id)

    def _site(self, name: str) -> Site:
        also = gates.during(self.settings, self.session.writable())
        return Site(
            self.session, self.runs, name, self.now, say=self.say, watching=self._watching, heed=self.heed, also=also
        )

    @contextmanager
    def _watching(self, migrations: Iterable[Migration], ended: Iterable[int], clock: Clock) -> Iterator[Watch]:
        yield Lines(tuple(migrations), frozenset(ended), clock, self.say)

    # What is recorded

    def _blind(self, name: str, why: str) -> Look:
        """A look that has seen nothing, of the cluster that was looked at last where not even its name is known."""
        with contextlib.suppress(JournalError):
            last = self.runs.journal.looks.last(limit=1)
            name = last[0].cluster if name == UNNAMED and last else name
        return self._empty(name, Outcome.ERROR, why=why)

    def _empty(self, name: str, outcome: Outcome, why: str, refusals: tuple[Refusal, ...] = ()) -> Look:
        return Look(
            at=self.now(), cluster=name, mode=self.settings.mode, outcome=outcome, why=why, refusals=refusals,
            solver=self.settings.solver,
        )  # fmt: skip

    def _recorded(self, look: Look, plan: Plan | None) -> Look:
        """The look, which is in the journal if that can be written, and what is too old no longer is."""
        journal, at = self.runs.journal, self.now()
        try:
            look = replace(look, number=journal.looks.add(look, plan))
            journal.looks.prune(at - self.settings.keep * DAY)
            journal.prune(at - conduct.KEPT, at - self.settings.keep * DAY)
        except JournalError as error:
            self.say(f"note: this look is not recorded: {error}")
        return look


@contextmanager
def at_work(settings: Run, site: Site) -> Iterator[conduct.Work]:
    """Hold the lock of the cluster, for what starts migrations only when scheduled looks may. Locked."""
    apply, now = site.session.apply, datetime.fromtimestamp(site.now(), UTC).astimezone()
    deadline = until(apply.deadline, now) if apply.deadline else None
    with site.runs.lock(site.cluster) as note:
        yield conduct.Work(site, gates.may_start(settings, Hours(apply.hours), deadline), note)


def _seen(scene: Scene, name: str, settings: Run) -> Look:
    """What a look says of its cluster and plan."""
    plan = scene.plan
    loads = tuple(
        Load(node.node, resource, node.load_before[resource], node.load_after[resource])
        for node in plan.nodes
        for resource in plan.resources
    )
    return Look(
        at=scene.at, cluster=name, mode=settings.mode, outcome=Outcome.BALANCED, above=scene.above > 0,
        nodes=len(scene.cluster.nodes), guests=len(scene.cluster.guests), spread_before=plan.spread.before,
        spread_after=plan.spread.after, bound=plan.spread.bound, solver=plan.solver, status=plan.status.value,
        solver_seconds=plan.seconds, migrations=len(plan.migrations), gib=plan.moved_gib, loads=loads,
        violations_before=plan.violations_before, violations_after=plan.violations_after,
    )  # fmt: skip


def _is_above(session: Session, cluster: Cluster, plan: Plan) -> bool:
    """Whether the cluster is out of balance, whatever else is wrong with it."""
    if session.policy.repair_only or plan.status is PlanStatus.NO_ACTION:
        return False
    return not planning.is_quiet(planning.prepare(cluster, session.policy, session.settings, session.apply).formulation)


def _nothing(plan: Plan) -> tuple[Refusal, ...]:
    """A refusal where there is nothing to carry out."""
    return () if plan.migrations else (Refusal(GateName.PLAN, NOTHING),)


def _outcome(record: RunRecord, error: PlannerError | None) -> Outcome:
    """What came of a run: one whose time was over, or that was told to end, has not failed."""
    wrong = error is not None or _failed(record)
    if not wrong:
        return Outcome.DONE
    return Outcome.PARTLY if record.counts.get(Step.DONE) else Outcome.FAILED


def _of_run(look: Look, record: RunRecord, outcome: Outcome, why: str) -> Look:
    counts = record.counts
    left = counts.get(Step.PLANNED, 0) + counts.get(Step.SKIPPED, 0)
    return replace(
        look, outcome=outcome, why=why, run=record.id, done=counts.get(Step.DONE, 0), failed=_failed(record), left=left
    )


def _failed(record: RunRecord) -> int:
    """Migrations that failed, or whose fate is not known."""
    return sum(record.counts.get(step, 0) for step in (Step.FAILED, Step.UNKNOWN, Step.CHECKED, Step.STARTED))
