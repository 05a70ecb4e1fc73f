"""Read YAML as a tree of texts in which every part knows its place in the file.

Nothing is converted to a Python type, so that values are read just as they are written.
Complaints never show a value: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from do_dcgm_exporter.errors import ConfigurationError, hint

if TYPE_CHECKING:
    from yaml import Node

# The tags that YAML gives plain scalars (yaml.org/type); any other was written explicitly.
_TEXTS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
_NULL, _MAPPING, _LIST = (f"tag:yaml.org,2002:{kind}" for kind in ("null", "map", "seq"))
_SHOWN_KEY = re.compile("[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class Part:
    """A node of the tree; ``key`` is its path from the top."""

    node: Node | None
    file: str
    line: int
    key: str = ""

    def wrong(self, why: str) -> ConfigurationError:
        """Return the complaint about this part."""
        name = f" {self.key}:" if self.key else ""
        return ConfigurationError(f"{self.file}:{self.line}:{name} {why}")

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing, or null."""
        return self.node is None or self.node.tag == _NULL

    def mapping(self) -> dict[str, Part]:
        """Return what is under each key, empty if there is nothing."""
        found: dict[str, Part] = {}
        for key, value in self._nodes(_MAPPING, "a mapping"):
            name = self._at(key, self.key).text()
            shown = name if _SHOWN_KEY.fullmatch(name) else "…"
            part = self._at(value, f"{self.key}.{shown}" if self.key else shown, line=key)
            if name in found:
                raise part.wrong("this key occurs twice")
            found[name] = part
        return found

    def known_mapping(self, known: Iterable[str]) -> dict[str, Part]:
        """Return what is under each key; raise ConfigurationError for an unknown one."""
        found = self.mapping()
        known = tuple(known)
        for name, part in found.items():
            if name not in known:
                guess = hint(name, known) or f"; there are {', '.join(known)}"
                raise part.wrong(f"there is no such key{guess}")
        return found

    def texts(self) -> list[str]:
        """Return the texts of a list, empty if there is nothing."""
        return [self._at(item, self.key).text() for item in self._nodes(_LIST, "a list")]

    def text(self) -> str:
        """Return the text, empty if there is nothing."""
        if self.is_empty:
            return ""
        assert self.node is not None, "it is not empty"
        if isinstance(self.node.value, list):
            raise self.wrong("this must be one text, not a list or a mapping")
        if self.node.tag not in _TEXTS:
            raise self.wrong("tags (!…) are not allowed")
        return str(self.node.value)

    def boolean(self, default: bool) -> bool:
        """Return true or false as written, ``default`` if there is nothing."""
        return default if self.is_empty else self.one_of({"true": True, "false": False})

    def one_of(self, allowed: Mapping[str, Any]) -> Any:
        """Return the value that ``allowed`` has for the text."""
        text = self.text()
        if text not in allowed:
            raise self.wrong(f"this is not one of {', '.join(allowed)}")
        return allowed[text]

    def _nodes(self, tag: str, what: str) -> Any:
        if self.node is None or self.is_empty:
            return []
        if self.node.tag != tag:
            raise self.wrong(f"this must be {what}")
        return self.node.value

    def _at(self, node: Node, key: str, line: Node | None = None) -> Part:
        return Part(node, self.file, (line or node).start_mark.line + 1, key)


def absent(file: str, key: str) -> Part:
    """Return the part of a key that is missing."""
    return Part(None, file, 1, key)


def read_yaml(content: bytes, file: str) -> Part:
    """Parse ``content``; complaints call it ``file``."""
    try:
        import yaml  # only needed with such a file
    except ImportError as error:
        raise ConfigurationError(
            f"{file}: reading it requires the package python3-yaml, which is not installed"
        ) from error
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{file}:{line}: this is not YAML: {_reason(error)}") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # the last for "\\UFFFFFFFF"
        # "from None": a traceback would show what cannot be decoded.
        raise ConfigurationError(f"{file}: this is not YAML: not all of it is Unicode") from None
    except RecursionError:
        raise ConfigurationError(f"{file}: this is nested too deeply") from None
    return Part(node, file, 1)


def _reason(error: Any) -> str:
    """Return what is wrong without the file's content, which the parser puts in quotes."""
    return re.sub("""'.{2,}'|".{2,}\"""", "…", str(error.problem or "it does not parse"))
