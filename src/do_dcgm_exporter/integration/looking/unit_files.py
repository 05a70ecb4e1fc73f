"""What the files of services say about how they run.

The manager could tell, but for each unit that is not running it would have to load the files, and
to list them it looks up the state of each: half a second of PID 1 on a small machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from do_dcgm_exporter.integration.host import Host

# unit_name_is_valid() of systemd.
_NAME = re.compile(r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]*\.service")
_COMMENT = re.compile(r"(?m)^\s*[#;].*\n?")
_DIRECTIVE = re.compile(r"(?m)^\s*(?:ExecStart|Environment|EnvironmentFile)\s*=(.*)$")
_INSTANCE = re.compile(r"@.*\.")


def texts_of_services(
    host: Host, folders: Iterable[str], instances: Iterable[str]
) -> Iterator[tuple[str, str]]:
    """Yield each service with its commands and variables, as they are written: systemd.unit(5).

    ``folders`` are those of unit files, by precedence. Of templates there are the ``instances``.
    """
    fragments, drop_ins = _files(host, folders)
    for name in {*(name for name in fragments if "@." not in name), *instances}:
        template = _INSTANCE.sub("@.", name)
        fragment = fragments.get(name) or fragments.get(template)
        paths = [path for folder, path in drop_ins if _is_for(folder, name, template)]
        text = "\n".join(host.text(path) for path in (*filter(None, [fragment]), *paths))
        text = _COMMENT.sub("", text).replace("\\\n", " ")
        yield name, "\n".join(match[1] for match in _DIRECTIVE.finditer(text))


def _files(host: Host, folders: Iterable[str]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the paths of services by their names, and of drop-ins beside their folders' names."""
    fragments: dict[str, str] = {}
    drop_ins = []
    for folder in folders:
        for name in (entry.name for entry in host.path(folder).glob("*")):
            if _NAME.fullmatch(name):
                fragments.setdefault(name, f"{folder}/{name}")
            elif name.endswith(".service.d") or name == "service.d":
                configurations = host.path(f"{folder}/{name}").glob("*.conf")
                drop_ins += [(name, f"{folder}/{name}/{one.name}") for one in configurations]
    return fragments, drop_ins


def _is_for(folder: str, name: str, template: str) -> bool:
    """Whether a folder of drop-ins is for a unit: its own, its template's or that of a prefix."""
    owner = folder.removesuffix(".d")
    prefix = owner.removesuffix(".service")
    is_prefix = prefix.endswith("-") and name.startswith(prefix)
    return is_prefix or owner in (name, template, "service")
