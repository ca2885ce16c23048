"""Owns one scheduled look: gather, plan, ask the gates, carry out or propose, record."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace

from planner import conduct, gates, planning
from planner.assumptions import check_assumptions
from planner.choices import RunMode
from planner.clock import Clock
from planner.cluster import Cluster
from planner.errors import Drift, Exit, JournalError, Locked, NoQuorum, PlannerError, StalePlan, internal
from planner.gates import Scene
from planner.interrupt import heeded
from planner.lock import holder
from planner.look import GateName, Look, Outcome, Refusal
from planner.plan import Migration, Plan, PlanStatus
from planner.returns import DAY
from planner.run import RunRecord, RunState
from planner.runs import Runs, unsettled
from planner.scheduled import at_work, bound, closed, gathered, is_valid
from planner.seen import left, nothing, of_run, refused, seen, settled, with_plan
from planner.service import Run
from planner.session import Session
from planner.site import Site
from planner.standing import standby
from planner.state import UNNAMED, cluster_name
from planner.times import span
from planner.watch import Lines, Watch, say
from solvers import Budget

GAP, LATE = 2 * DAY, 3
"""Seconds, or times run.every where that is longer, from one look to the next of those that count in a row."""
REPLACED = "another plan was proposed"
LEFT = "told to end: what is under way goes on in the cluster, and the next look finds it"
SAYS_NO: Mapping[type[PlannerError], GateName] = {
    Locked: GateName.LOCK, NoQuorum: GateName.QUORUM, StalePlan: GateName.PLAN, Drift: GateName.PLAN,
}  # fmt: skip
"""What keeps a run from beginning, at the last moment, to the gate that it is."""
Came = tuple[Look, Plan | None, int]
"""What came of a look: with its plan, and the code with which a process ends that has taken it alone."""


class ToldToEnd(Exception):
    """The end was asked for before anything was migrated."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A look, and the code with which a process ends that has taken it alone."""

    look: Look
    exit_code: int


@dataclass(slots=True)
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
    name: str = UNNAMED
    """Of the cluster, once it has said it."""
    told: Callable[[Look], None] = lambda look: None
    """Is told of what became of a run that was left, which is a look of its own in the journal."""

    def look(self) -> Taken:
        """One look, which is in the journal afterwards. ToldToEnd; KeyboardInterrupt when it is left at once.

        Whatever a cluster or its API do ends in a look that says so.
        """
        began, plan, code = self.now(), None, int(Exit.OK)
        try:
            self.name = cluster_name(self.session.writable())
            look, plan, code = self._looked()
        except PlannerError as error:
            look, code = self._blind(str(error)), int(error.exit_code)
        except ToldToEnd:
            raise
        except Exception as error:  # it must not keep later looks from being taken, and is told as any other
            look, code = self._blind(internal(error)), int(Exit.ERROR)
        look = replace(look, at=began, seconds=self.now() - began)
        return Taken(self._recorded(look, plan), code)

    def _looked(self) -> Came:
        site = self._site()
        if why := standby(self.settings, site.session.writable()):
            look = replace(self._empty(Outcome.STANDBY, why), refusals=(Refusal(GateName.ACTIVE, why),))
            return look, None, Exit.OK
        if self.settings.mode is not RunMode.OBSERVE:
            self._clear(site)
        scene = self._scene()
        self._heed_end()
        return self._act(site, scene, seen(scene, self.name))

    # What is seen

    def _scene(self) -> Scene:
        """The cluster as it is now, and a plan for it within what may still be migrated today."""
        session, at, journal = self.session, self.now(), self.runs.journal
        cluster = gathered(session, journal, self.name, at)
        started = journal.started(self.name, at - DAY)
        left = gates.budget(self.settings, started, at)
        policy = session.policy
        if left:
            most = left if policy.max_migrations is None else min(left, policy.max_migrations)
            session = replace(session, policy=replace(policy, max_migrations=most))
        plan = self._planned(session, cluster)
        many = 1 + self._above_before(cluster, at) if _is_above(session, cluster, plan) else 0
        held = holder(self.runs.directory, self.name) if self.runs.directory else None
        left_open = tuple(journal.open(self.name))
        return Scene(self.settings, session, cluster, plan, at, many, left_open, held, started)

    def _above_before(self, cluster: Cluster, at: float) -> int:
        """Looks in a row before this one that found the cluster, as it has been since the last migration, out of
        balance."""
        since = max((trip.at for trip in cluster.moved), default=0.0)
        gap = max(GAP, LATE * span(self.settings.every))
        return self.runs.journal.looks.above(self.name, at, gap, since)

    def _planned(self, session: Session, cluster: Cluster) -> Plan:
        policy = session.policy
        budget = Budget(seconds=policy.time_limit, seed=policy.seed, stop=self.stop)
        return planning.checked_plan(
            cluster, policy, session.settings, self.settings.solver, budget, session.source, (), session.apply
        )

    # What comes of it

    def _act(self, site: Site, scene: Scene, look: Look) -> Came:
        """Ask the gates; where they say no to balance alone, rules are repaired nevertheless."""
        plan = scene.plan
        if plan.status is PlanStatus.NO_ACTION:
            self._withdraw("it is no longer needed")
            return replace(look, outcome=Outcome.BALANCED, why="within balanciness, no rule is broken"), plan, Exit.OK
        no = nothing(plan) or gates.refusals(scene)
        if no and scene.repairs and {refusal.gate for refusal in no} <= gates.OF_BALANCE:
            session = replace(scene.session, policy=replace(scene.session.policy, repair_only=True))
            scene = replace(scene, session=session, plan=self._planned(session, scene.cluster))
            plan, look = scene.plan, with_plan(look, scene.plan)
            no = nothing(plan) or gates.still_closed(scene)
        if no:
            return refused(look, no), plan, Exit.OK
        self._heed_end()
        acts = {RunMode.OBSERVE: self._observe, RunMode.APPROVE: self._propose, RunMode.AUTO: self._apply}
        return acts[self.settings.mode](site, scene, look)

    def _observe(self, site: Site, scene: Scene, look: Look) -> Came:
        self._withdraw("plans are no longer proposed (run.mode is observe)")
        look = replace(look, outcome=Outcome.OBSERVED, why="nothing is changed in mode observe (run.mode)")
        return look, scene.plan, Exit.OK

    def _propose(self, site: Site, scene: Scene, look: Look) -> Came:
        """Keep a plan that waits as long as it holds: a person is to approve of what they have read."""
        journal, at, plan = self.runs.journal, self.now(), scene.plan
        waiting = journal.proposed(site.cluster)
        if waiting is not None and self._holds(waiting, scene):
            run, plan = waiting.id, waiting.plan
            look = with_plan(look, plan)
        else:
            self._withdraw(REPLACED)
            run = journal.begin(plan, site.cluster, at, "scheduled", state=RunState.PROPOSED)
        why = f"run {run} waits to be approved: `proxlb-plan approve {run}`"
        return replace(look, outcome=Outcome.PROPOSED, why=why, run=run), plan, Exit.OK

    def _holds(self, waiting: RunRecord, scene: Scene) -> bool:
        if not waiting.readable or not is_valid(self.settings, waiting, self.now()):
            return False
        try:
            check_assumptions(waiting.plan, scene.cluster, scene.session.settings)
        except StalePlan:
            return False
        return True

    def _withdraw(self, why: str) -> None:
        """A plan that waits is not to be approved any more, unless it was just now."""
        if waiting := self.runs.journal.proposed(self.name):
            with contextlib.suppress(ValueError):
                self.runs.journal.withdraw(waiting.id, self.now(), why)

    def _apply(self, site: Site, scene: Scene, look: Look) -> Came:
        self._withdraw("plans are carried out without being asked for (run.mode is auto)")
        try:
            with at_work(self.settings, site) as work:
                if no := closed(self.settings, site, scene.plan):  # planning takes its time
                    return refused(look, no), scene.plan, Exit.OK
                look, code = self._carry_out(work, work.begin(scene.plan, "scheduled"), look)
                return look, scene.plan, code
        except (Locked, NoQuorum, StalePlan) as error:
            return refused(look, (Refusal(SAYS_NO[type(error)], str(error)),)), scene.plan, Exit.OK

    def _carry_out(self, work: conduct.Work, run: int, look: Look) -> tuple[Look, int]:
        journal = self.runs.journal
        try:
            ended = work.carry_out(run)
        except KeyboardInterrupt:
            if self.stop():  # what is under way is left to Proxmox VE
                return left(look, journal.run(run), LEFT), Exit.INTERRUPTED
            raise
        record = journal.run(run)
        if record.state is RunState.STOPPED and not unsettled(record):
            journal.abandon(run, self.now(), record.why)
        look = of_run(look, record, ended.error)
        return look, ended.exit_code if look.outcome in (Outcome.PARTLY, Outcome.FAILED) else Exit.OK

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
                look = settled(self._empty(Outcome.CUT, ""), self.runs.journal.run(record.id))
                self.told(self._recorded(look, None))

    def _site(self) -> Site:
        site = Site(self.session, self.runs, self.name, self.now, self.say, self._watching, self.heed)
        return bound(self.settings, site)

    def _heed_end(self) -> None:
        if self.stop():
            raise ToldToEnd

    @contextmanager
    def _watching(self, migrations: Iterable[Migration], ended: Iterable[int], clock: Clock) -> Iterator[Watch]:
        yield Lines(tuple(migrations), frozenset(ended), clock, self.say)

    # What is recorded

    def _blind(self, why: str) -> Look:
        """A look that has seen nothing, of the only cluster of the journal where not even its name is known."""
        if self.name == UNNAMED:
            with contextlib.suppress(JournalError):
                names = self.runs.journal.looks.clusters()
                self.name = names[0] if len(names) == 1 else UNNAMED
        return self._empty(Outcome.ERROR, why)

    def _empty(self, outcome: Outcome, why: str) -> Look:
        mode, solver = self.settings.mode, self.settings.solver
        return Look(at=self.now(), cluster=self.name, mode=mode, outcome=outcome, why=why, solver=solver)

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


def _is_above(session: Session, cluster: Cluster, plan: Plan) -> bool:
    """Whether the cluster is out of balance, rules aside. A plan without action says that it is not."""
    if session.policy.repair_only or plan.status is PlanStatus.NO_ACTION:
        return False
    formulation = planning.prepare(cluster, session.policy, session.settings, session.apply).formulation
    return not planning.is_quiet(formulation)
