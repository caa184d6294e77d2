"""`python -m paraminspect`."""

from __future__ import annotations

from .inspector.commands import main

if __name__ == "__main__":
    raise SystemExit(main())
