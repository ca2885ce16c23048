"""Runs the command line: `proxlb-plan`, `python -m planner`; also where what it is made with is not installed."""

import sys
from typing import NoReturn

from planner import missing
from planner.errors import Exit


def main() -> NoReturn:
    """What a person starts."""
    try:
        from planner.cli import main as run

        run()
    except KeyboardInterrupt:  # while planner.cli is imported, which takes a while
        print("proxlb-plan: interrupted", file=sys.stderr)
        sys.exit(Exit.INTERRUPTED)
    except ImportError as error:
        said = missing.said(error)
        if said is None:
            raise
        sys.exit(f"proxlb-plan: {said}")


if __name__ == "__main__":
    main()
