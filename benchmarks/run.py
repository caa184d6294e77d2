"""Print every bar as a figure, beside its reference measured in the same run: `python benchmarks/run.py`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import opening


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true", help="also run references that take half a minute")
    parser.add_argument("--runs", type=int, default=7, help="runs that a median is taken of")
    parser.add_argument("--folder", type=Path, help="where the large files go (default: a temporary folder)")
    options = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for bar in opening.bars(Path(folder), slow=options.slow, runs=options.runs):
            missed += not bar.met
            print(f"{'met   ' if bar.met else 'MISSED'}  {bar.job}")
            print(f"        {bar.figure}; {bar.reference}; budget: {bar.budget}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
