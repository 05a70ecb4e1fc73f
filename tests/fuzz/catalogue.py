"""Which targets there are, and their seeds."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from tests.fuzz import targets

SEEDS = Path(__file__).parent / "seeds"

Target = Callable[[bytes], None]


def names() -> list[str]:
    """The names of all targets."""
    return sorted(module.name for module in pkgutil.iter_modules(targets.__path__))


def target(name: str) -> Target:
    """The function of one target."""
    found: Target = import_module(f"tests.fuzz.targets.{name}").fuzz
    return found


def seeds(name: str) -> list[Path]:
    """The seeds of one target."""
    return sorted(path for path in (SEEDS / name).glob("*") if path.is_file())
