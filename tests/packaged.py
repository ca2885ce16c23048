"""Puts packaging/ where its scripts find each other; a package of that name from elsewhere stays what it is."""

import sys
from pathlib import Path

PACKAGING = Path(__file__).parents[1] / "packaging"
if str(PACKAGING) not in sys.path:
    sys.path.append(str(PACKAGING))
