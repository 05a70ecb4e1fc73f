"""`python3 -m dcgm_simulator`: run a simulated engine, or make one misbehave."""

from __future__ import annotations

from dcgm_simulator.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
