"""Owns the command frontier: what is asked, and how it is printed."""

import sys
from typing import Annotated, Any

from planner.flags import option
from planner.options import TableOrJson, with_session
from planner.policy import Against

AgainstOption = Annotated[
    Against, option("--against", "What the spread is seen against.", Against.MIGRATIONS)
]  # fmt: skip
AllOption = Annotated[bool, option("--all", "Also limits that gain nothing over the one before.", "no")]
OutputOption = Annotated[TableOrJson, option("--output", "How it is printed.", TableOrJson.TABLE)]


@with_session
def frontier(
    session: Any,
    against: AgainstOption = Against.MIGRATIONS,
    every: AllOption = False,
    output: OutputOption = TableOrJson.TABLE,
) -> None:
    """Show what each migration more, or each GiB more, buys, up to --max-migrations or 30. Changes nothing."""
    from planner import progress, report, report_frontier
    from planner.frontier import TIMES, make_frontier
    from planner.planning import prepare

    cluster = session.cluster()
    case = prepare(cluster, session.policy, session.settings, session.apply)
    with progress.front(TIMES * session.policy.time_limit) as told:
        found = make_frontier(case, against, told=told)
    for note in (*cluster.notes, *case.formulation.notes, *found.notes):
        print(f"note: {note}", file=sys.stderr, flush=True)
    if output is TableOrJson.JSON:
        print(found.to_json())
    else:
        report_frontier.frontier(found, report.console(), every=every)
