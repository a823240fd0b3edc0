"""The benchmarks are programs, not a package: their folder goes on the path."""

import sys

from tests.house.source import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
