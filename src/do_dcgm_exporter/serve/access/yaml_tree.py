"""YAML as a tree of texts in which every part knows where it stands.

Nothing becomes a type of Python's, so that no value is read otherwise than it is
written, and complaints never repeat a value: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from do_dcgm_exporter.errors import ConfigurationError, hint

if TYPE_CHECKING:
    from yaml import Node

# What YAML takes a plain scalar for (yaml.org/type); any other tag was written on purpose.
_TEXTS = frozenset(
    f"tag:yaml.org,2002:{kind}"
    for kind in ("str", "int", "float", "bool", "null", "timestamp", "value", "merge")
)
_NULL, _MAPPING, _LIST = (f"tag:yaml.org,2002:{kind}" for kind in ("null", "map", "seq"))
_BOOLEANS = {"true": True, "false": False}
_SHOWN_KEY = re.compile("[A-Za-z0-9_-]{1,40}")


@dataclass(frozen=True, slots=True)
class Part:
    """A node of the tree: ``where`` is its file and line, ``key`` its path from the top."""

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
        """Whether nothing is there, or null."""
        return self.node is None or self.node.tag == _NULL

    def mapping(self) -> dict[str, Part]:
        """Return what is under each key; empty when nothing is there."""
        found: dict[str, Part] = {}
        for key, value in self._nodes(_MAPPING, "a mapping"):
            name = self._at(key, self.key).text()
            shown = name if _SHOWN_KEY.fullmatch(name) else "…"
            part = self._at(value, f"{self.key}.{shown}" if self.key else shown, line=key)
            if name in found:
                raise part.wrong("this key is there twice")
            found[name] = part
        return found

    def known_mapping(self, known: Iterable[str]) -> dict[str, Part]:
        """Return what is under each key, none of which may be unknown."""
        found = self.mapping()
        known = tuple(known)
        for name, part in found.items():
            if name not in known:
                guess = hint(name, known) or f"; there are {', '.join(known)}"
                raise part.wrong(f"there is no such key{guess}")
        return found

    def texts(self) -> list[str]:
        """Return the texts of a list; empty when nothing is there."""
        return [self._at(item, self.key).text() for item in self._nodes(_LIST, "a list")]

    def text(self) -> str:
        """Return the text, "" when nothing is there."""
        if self.is_empty:
            return ""
        assert self.node is not None, "it is not empty"
        if isinstance(self.node.value, list):
            raise self.wrong("this must be one text, not a list or a mapping")
        if self.node.tag not in _TEXTS:
            raise self.wrong("tags (!…) are not allowed")
        return str(self.node.value)

    def boolean(self, default: bool) -> bool:
        """Return the truth that is written, ``default`` when nothing is there."""
        return default if self.is_empty else self.one_of(_BOOLEANS)

    def one_of(self, allowed: Mapping[str, Any]) -> Any:
        """Return what ``allowed`` has for the text."""
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
    """Return a part that is not there."""
    return Part(None, file, 1, key)


def read_yaml(content: bytes, file: str) -> Part:
    """Parse ``content``, which ``file`` is the name of in complaints."""
    try:
        import yaml  # only whoever has such a file needs the package
    except ImportError as error:
        raise ConfigurationError(
            f"{file}: reading it takes the package python3-yaml, which is not installed"
        ) from error
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigurationError(f"{file}:{line}: this is not YAML: {_reason(error)}") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # the last for "\\UFFFFFFFF"
        # "from None": what cannot be decoded would show in a traceback.
        raise ConfigurationError(f"{file}: this is not YAML: not all of it is Unicode") from None
    except RecursionError:
        raise ConfigurationError(f"{file}: this is nested too deeply") from None
    return Part(node, file, 1)


def _reason(error: Any) -> str:
    """Say what is wrong without what the file says: parsers quote it between quotes."""
    return re.sub("""'.{2,}'|".{2,}\"""", "…", str(error.problem or "it does not parse"))
