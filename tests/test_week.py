"""A week of mode auto on a living cluster: every gate closes and opens for its reason, and nothing goes to and fro."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from statistics import mean

import pytest

from planner.look import GateName, Outcome
from planner.openings import Openings
from planner.plan import NEEDED
from planner.run import RunState, Step
from tests import weeks
from tests.faults import HOUR, Fault, Trouble
from tests.weeks import BERLIN, ME, RUN, Week, at, in_blackout, in_window, lived, rates, starts, wanted

RAN = (Outcome.DONE, Outcome.CUT, Outcome.PARTLY, Outcome.FAILED)
OF_BALANCE = {GateName.LOOKS, GateName.GAIN}
"""What says nothing against the repair of a rule."""
STOPPING = (Trouble.UNREACHABLE, Trouble.NO_QUORUM, Trouble.BACKUP)
"""With which nothing starts, also where they begin while a run is under way."""
FAULTS = [
    Fault(trouble, at(day, begin), at(day, end), node)
    for trouble, day, begin, end, node in (
        (Trouble.UNREACHABLE, 0, "01:01", "01:47", ""),
        (Trouble.BACKUP, 0, "22:30", "23:10", "pve2"),
        (Trouble.MASTER, 1, "04:10", "05:30", "pve2"),
        (Trouble.FOREIGN, 0, "22:01", "22:25", "pve3"),  # while a run is under way
        (Trouble.FOREIGN, 1, "22:10", "23:10", "pve3"),
        (Trouble.FOREIGN, 3, "22:41", "23:15", "pve3"),  # the same
        (Trouble.NO_QUORUM, 2, "20:01", "23:50", ""),  # while a run is under way
        (Trouble.UNREACHABLE, 3, "20:41:10", "21:11", ""),  # the same
        (Trouble.BALANCER, 3, "00:00", "20:10", ""),
        (Trouble.BACKUP, 4, "20:01", "21:10", "pve2"),  # the same
        (Trouble.FAILING, 4, "21:10", "23:59", ""),
        (Trouble.NO_QUORUM, 5, "00:01:30", "00:50", ""),
        (Trouble.FOREIGN, 5, "08:01", "09:05", "pve3"),
        (Trouble.UNREACHABLE, 5, "12:00", "12:30", ""),
        (Trouble.FOREIGN, 5, "16:01", "16:30", "pve3"),  # the same
        (Trouble.OFFLINE, 5, "14:00", "16:00", "pve4"),
        (Trouble.MASTER, 6, "00:01", "01:30", "pve2"),
        (Trouble.BACKUP, 6, "00:30", "02:10", "pve3"),
        (Trouble.BALANCER, 6, "03:00", "18:00", ""),
        (Trouble.OFFLINE, 6, "19:00:40", "21:00", "pve4"),
    )
]
CROWDED = (*((day, "18:50") for day in range(5)), *((5, f"{hour}:50") for hour in (14, 15, 16)),
           *((6, f"{hour}:50") for hour in (10, 11, 13)))  # fmt: skip
CROWDS = [
    Fault(Trouble.CROWD, at(day, when), at(day, "23:59"), f"pve{1 + i % 4}") for i, (day, when) in enumerate(CROWDED)
]
"""So that there is much to do when a window begins, and more at the weekend than may be done within an hour."""
DEATHS = [at(0, "20:01"), at(5, "19:00:30")]


DRAWN = [pytest.param(seed, marks=pytest.mark.slow) for seed in range(6)]


@pytest.fixture(scope="module", params=[None, *DRAWN])
def week(request: pytest.FixtureRequest) -> Week:
    """One in which all that is known to be hard happens, and drawn ones."""
    return lived(FAULTS + CROWDS, DEATHS) if request.param is None else weeks.drawn(request.param)


def is_made(week: Week) -> bool:
    """Whether it is the one in which everything happens."""
    return week.run is RUN


def test_the_oracle_of_windows_and_the_planner_agree_at_every_minute_of_the_week_in_which_clocks_are_put_back() -> None:
    windows, blackouts = Openings(RUN.windows), Openings(RUN.blackouts)
    begin, end = datetime.fromtimestamp(at(5, "00:00"), UTC), datetime.fromtimestamp(at(7, "01:00"), UTC)
    assert (end - begin) == timedelta(hours=50)
    for minute in range(0, 50 * 60, 5):
        moment = begin + timedelta(minutes=minute, seconds=1)
        assert (windows.open(moment) is not None) == in_window(moment.timestamp()), moment
        assert (blackouts.open(moment) is not None) == in_blackout(moment.timestamp()), moment


def test_every_gate_closes_and_opens_for_the_right_reason_at_the_right_looks(week: Week) -> None:
    closed: Counter[GateName] = Counter()
    for seen, gates in wanted(week):
        look = seen.look
        refused, when = {refusal.gate for refusal in look.refusals}, datetime.fromtimestamp(look.at, BERLIN)
        closed.update(refused)
        if look.outcome is Outcome.REFUSED:
            assert refused == gates or (refused == {GateName.PLAN} and (look.run or not look.migrations)), when
        elif look.outcome in RAN:
            reasons = [entry.migration.reason for entry in week.journal.run(look.run or 0).entries]
            assert not gates or (gates <= OF_BALANCE and all(why.startswith(NEEDED) for why in reasons)), when
    wide = {GateName.WINDOW, GateName.BLACKOUT, GateName.LOOKS, GateName.QUORUM, GateName.FOREIGN, GateName.BACKUP,
            GateName.PER_HOUR, GateName.PER_DAY, GateName.ACTIVE, GateName.BALANCER}  # fmt: skip
    assert wide <= set(closed) or not is_made(week), f"the week is not hard enough: {closed}"


def test_a_look_sees_what_is_so_and_standby_and_errors_are_as_the_cluster_is(week: Week) -> None:
    for seen in week.seen:
        look, faults = seen.look, week.cluster.faults
        unreachable = bool(faults.at(look.at, Trouble.UNREACHABLE))
        elsewhere = [fault.node for fault in faults.at(look.at, Trouble.MASTER) if fault.node != ME]
        assert (look.outcome is Outcome.ERROR) == unreachable
        assert (look.outcome is Outcome.STANDBY) == (bool(elsewhere) and not unreachable)
        if look.spread_before is not None:
            assert look.spread_before == pytest.approx(seen.spread, abs=0.1)
            assert look.above == (seen.spread > weeks.POLICY.balanciness)
        if look.outcome is Outcome.BALANCED:
            assert not look.above and not look.violations_before and not look.migrations


def test_nothing_ever_started_while_a_gate_was_closed(week: Week) -> None:
    assert len(week.cluster.asked) > (20 if is_made(week) else 5)
    together = set(followers(week))
    for one in week.cluster.asked:
        assert not week.cluster.faults.at(one.at, *STOPPING) and not week.cluster.is_foreign(one.at), one
        assert {fault.node for fault in week.cluster.faults.at(one.at, Trouble.MASTER)} <= {ME}
        assert (in_window(one.at) and not in_blackout(one.at)) or one.upid in together, one
        down = {fault.node for fault in week.cluster.faults.at(one.at, Trouble.OFFLINE)}
        assert not down & {one.source, one.target}


def followers(week: Week) -> Iterator[str]:
    """Tasks of guests that belong with one that had begun already: they follow it."""
    for summary in week.journal.runs(limit=999):
        begun: dict[int, int] = {}
        for entry in week.journal.run(summary.id).entries:
            if entry.upid and begun.setdefault(entry.migration.bundle, entry.number) != entry.number:
                yield entry.upid


def test_runs_that_a_gate_closed_on_ended_in_good_order_and_say_why(week: Week) -> None:
    runs = [week.journal.run(seen.look.run) for seen in week.seen if seen.look.run and seen.look.left]
    reasons = " / ".join(run.why for run in runs)
    for words in ("no quorum", "a backup is running", "is being migrated by root@pam", "migrations may start is over"):
        assert words in reasons or not is_made(week)


def test_limits_of_an_hour_and_a_day_are_kept_at_every_moment_also_where_migrations_fail(week: Week) -> None:
    assert week.cluster.failed or not is_made(week)
    for one in week.cluster.asked:
        for _, most, span in rates(week.run):
            assert starts(week, one.at - span, one.at + 0.1) <= most


def test_a_guest_whose_migration_failed_is_left_alone_for_a_while_so_that_others_are_migrated(week: Week) -> None:
    by_task = {one.upid: one for one in week.cluster.asked}
    failed = [by_task[upid] for upid in week.cluster.failed]
    for first, second in pairwise(sorted(failed, key=lambda one: (one.vmid, one.at))):
        assert first.vmid != second.vmid or second.at - first.at > HOUR


def test_no_guest_is_sent_back_within_the_time_of_no_return(week: Week) -> None:
    entries = [entry for summary in week.journal.runs(limit=999) for entry in week.journal.run(summary.id).entries]
    done = sorted((entry for entry in entries if entry.step is Step.DONE), key=lambda entry: entry.changed_at)
    trips = [(entry.changed_at, entry.migration) for entry in done]
    for i, (when, trip) in enumerate(trips):
        back = [old for then, old in trips[:i] if old.vmid == trip.vmid and old.source == trip.target
                and when - then < week.apply.no_return * HOUR]  # fmt: skip
        assert not back or trip.reason.startswith(NEEDED)


def test_every_migration_is_in_the_journal_once_and_nothing_is_left_open_however_processes_died(week: Week) -> None:
    assert week.killed or not is_made(week)
    runs = [week.journal.run(summary.id) for summary in week.journal.runs(limit=999)]
    tasks = {event.upid for run in runs for event in week.journal.events(run.id) if event.step is Step.STARTED}
    assert tasks == {one.upid for one in week.cluster.asked}
    assert len(week.journal.started("living", 0.0)) == len(tasks)
    assert {run.state for run in runs} <= {RunState.DONE, RunState.ABORTED}
    done = {entry.upid for run in runs for entry in run.entries if entry.step is Step.DONE}
    assert done == {one.upid for one in week.cluster.asked} - set(week.cluster.failed)
    looks = [*(seen.look for seen in week.seen), *week.settled]
    assert {run.id for run in runs} == {look.run for look in looks if look.run}, "each run is in a look"


def test_looks_come_in_order_without_a_gap(week: Week) -> None:
    kept = week.journal.looks.last(limit=9999)[::-1]
    settled = {look.number for look in week.settled}
    kept = tuple(look for look in kept if look.number not in settled)
    assert [look.number for look in kept] == [seen.look.number for seen in week.seen]
    gaps = [later.at - earlier.at for earlier, later in pairwise(kept)]
    assert min(gaps) >= week.every - 1 and max(gaps) <= (len(week.killed) + 1) * week.every + 60


def test_the_cluster_is_more_even_than_without(week: Week) -> None:
    with_planner, alone = (mean(spreads) for spreads in zip(*week.spreads, strict=True))
    assert with_planner < 0.75 * alone


def test_the_long_day_has_its_25_hours() -> None:
    assert at(7, "00:00") - at(6, "00:00") == 25 * HOUR
    assert in_window(at(6, "22:59")) and not in_window(at(6, "23:00")), "24 hours from midnight"
    first = datetime.combine(weeks.MONDAY + timedelta(days=6), time(2, 30), BERLIN).timestamp()
    assert in_blackout(first) and in_blackout(first + 2.4 * HOUR) and not in_blackout(first + 2.5 * HOUR)
