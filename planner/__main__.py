"""Runs the command line: `proxlb-plan`, `python -m planner`; also where what it is made with is not installed."""

import sys
from typing import NoReturn

from planner import missing


def main() -> NoReturn:
    """What a person starts."""
    try:
        from planner.cli import main as run
    except ImportError as error:
        said = missing.said(error)
        if said is None:
            raise
        sys.exit(f"proxlb-plan: {said}")
    run()


if __name__ == "__main__":
    main()
