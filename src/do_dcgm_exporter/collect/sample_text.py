"""Render the parts of a sample: its labels and its value."""

from __future__ import annotations

from functools import lru_cache

Label = tuple[str, str]


@lru_cache(maxsize=4096)
def label_block(labels: tuple[Label, ...]) -> str:
    """Render ``name="value"`` pairs joined by commas, values escaped.

    Cached, because most of a page's blocks are those of the page before.
    """
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def number_text(value: int | float) -> str:
    """Render a number without loss: integers plain, doubles with six decimals or all they need.

    Six decimals are what the NVIDIA exporters print of any double.
    """
    if isinstance(value, int):
        return str(value)
    text = f"{value:f}"
    return text if float(text) == value else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
