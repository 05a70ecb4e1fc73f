"""Leave secrets out of what strangers will read.

A file that may hold secrets is shown by a list of what is harmless in it: what nobody has thought
of stays out. Everything else loses what looks like a secret.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

from do_dcgm_exporter.config import addresses
from do_dcgm_exporter.config.options import OPTIONS

REMOVED = "[removed]"
_LONGEST_LINE = 2000

_SECRET_NAME = (
    r"(?:passw(?:or)?d|passphrase|(?<![a-z])(?:pass|pwd)(?![a-z])|secret|token|credential|cookie"
    r"|(?:api|access|auth|encryption|private)[_-]?key)"
)
_QUOTED = r"\"(?:[^\"\\]|\\.)*\"?|'[^']*'?"
# What is kept of a match is its first group.
_SECRETS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(/[^\s?#\"']{0,500}\?)[^\s\"']+",  # the query of a URL, with or without its host
        # Quoted as a whole: "--password=two words"
        rf"((?P<quote>[\"'])[\w-]{{0,40}}{_SECRET_NAME}[\w-]{{0,40}}\s{{0,9}}[:=])(?:(?!(?P=quote)).)*",
        rf"({_SECRET_NAME}[\w-]{{0,40}}[\"']?\s{{0,9}}[:=]\s{{0,9}})(?:{_QUOTED}|\S+)",
        rf"(--?[\w.-]{{0,40}}{_SECRET_NAME}[\w.-]{{0,40}}[\"']?\s{{1,9}})(?:{_QUOTED}|\S+)",
        # User and password together: --web.auth user:password, --basic-auth=user:password
        rf"(--[\w.-]{{0,40}}(?<![a-z])auth[\"']?[\s=]{{1,9}})(?:{_QUOTED}|\S+)",
        # curl's, not docker's -u 1000:1000
        r"((?:^|\s)(?:-u|--(?:proxy-)?user)[\s=]+[\"']?(?!\d+:\d+(?:\s|$))[\w.@-]+:)[^\s\"']+",
        rf"((?:all|ftp|https?)_proxy\s{{0,9}}[:=]\s{{0,9}})(?:{_QUOTED}|\S+)",
        r"(authorization[\"']?\s{0,9}[:=]\s{0,9}).*",
        r"(\b(?:bearer|basic)\s{1,9})[\w.~+/=-]{8,}",
        r"()\b(?:do[opr]_v1_|gh[oprsu]_|github_pat_|glpat-|dckr_pat_|hf_|nvapi-)[\w-]{8,}",
        r"()\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*",  # a JSON web token
        r"()\$(?:[1567y]|2[abxy]?|gy|apr1|argon2\w*)\$[\w./$,=+-]{8,}",  # crypt(5)
    )
)
_PRIVATE_KEY = re.compile(
    r"(?s)-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z ]*-----|\Z)"
)
# Where the head of a key is cut off, as in a journal of so many lines.
_END_OF_KEY = re.compile(
    r"(?<![\w+/])[\w+/]{1,100}={0,2}(?=(?:\s|\\n){0,200}-----END [A-Z ]*PRIVATE KEY)"
)
_LINE_OF_KEY = re.compile(r"(?<![\w+/])[A-Za-z0-9+/]{60,}={0,2}")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def without_secrets(text: str) -> str:
    """Return ``text`` without what looks like a secret, and fit for any terminal."""
    text = _END_OF_KEY.sub(REMOVED, _PRIVATE_KEY.sub(REMOVED, text))
    return "\n".join(map(_line_without_secrets, text.split("\n")))


def _line_without_secrets(line: str) -> str:
    # Half a secret may not look like one: cut far behind what is shown.
    line = addresses.without_secrets(line[: 4 * _LONGEST_LINE])
    for pattern in _SECRETS:
        line = pattern.sub(rf"\1{REMOVED}", line)
    line = _LINE_OF_KEY.sub(_unless_a_number, line)
    cut = "" if len(line) <= _LONGEST_LINE else " [cut]"
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", line[:_LONGEST_LINE]) + cut


def _unless_a_number(match: re.Match[str]) -> str:
    """Return what a key is replaced by; digests of images and ids of containers stay."""
    kinds = ("[a-z]", "[A-Z]", "[0-9]")
    return REMOVED if all(re.search(kind, match[0]) for kind in kinds) else match[0]


# The configuration file

_SETTING = re.compile(r"\s*(?:--)?(?P<key>[A-Za-z0-9-]+)(?:\s*[:=]|\s).*")
_KNOWN_SETTINGS = frozenset(
    name for option in OPTIONS for name in (option.name, option.opposite) if name
)


def configuration(text: str) -> str:
    """Show the settings of a configuration file that the exporter knows, without comments."""
    shown = []
    for line in _meaningful(text, "#;"):
        match = _SETTING.fullmatch(line)
        is_known = match is not None and match["key"] in _KNOWN_SETTINGS
        shown.append(re.sub(r"\s[#;].*", "", line) if is_known else REMOVED)
    return without_secrets("\n".join(shown))


# Counters files

_COUNTER = re.compile(r"\s*[A-Za-z0-9_\"]+\s*,.*")


def counters(text: str) -> str:
    """Show the counters of a file, without comments."""
    lines = _meaningful(text, "#")
    return without_secrets("\n".join(one if _COUNTER.fullmatch(one) else REMOVED for one in lines))


# The web configuration

_MAPPINGS = frozenset(
    {"tls_server_config", "http_server_config", "headers", "rate_limit", "basic_auth_users"}
)
_HARMLESS = frozenset(
    {"cert_file", "key_file", "client_ca_file", "client_auth_type", "min_version", "max_version",
     "prefer_server_cipher_suites", "http2", "interval", "burst", "cipher_suites",
     "curve_preferences", "client_allowed_sans"}
)  # fmt: skip
_ENTRY = re.compile(r"(?P<indent>\s*)(?P<key>[A-Za-z0-9_]+):(?:\s+(?P<value>.*)|\s*)")
_ITEM = re.compile(r"\s*-\s+[\w.:\"'*-]+\s*")


def web_configuration(text: str) -> str:
    """Show the harmless parts of a web configuration, whether or not it is YAML."""
    shown, section, key = [], "", ""
    for line in _meaningful(text, "#"):
        entry = _ENTRY.fullmatch(line)
        if entry:
            key = entry["key"]
            section = section if entry["indent"] else key
        shown.append(_part_of_web_configuration(line, entry, section, key))
    return without_secrets("\n".join(shown))


def _part_of_web_configuration(
    line: str, entry: re.Match[str] | None, section: str, key: str
) -> str:
    value = re.sub(r"\s#.*", "", (entry["value"] if entry else "") or "").strip()
    if entry and key in _MAPPINGS and (section != "basic_auth_users" or key == section):
        return f"{entry['indent']}{key}: {REMOVED if value else ''}".rstrip()
    if key not in _HARMLESS or section == "basic_auth_users" or "{" in line:
        return f"{line[: len(line) - len(line.lstrip())]}{REMOVED}"
    if entry:
        return f"{entry['indent']}{key}: {value}".rstrip()
    return line if _ITEM.fullmatch(line) else REMOVED


# Units

_VARIABLES = re.compile(r"(?:DCGM|NVIDIA|CUDA|PYTHON|SYSTEMD)_\w+|DO_DCGM_\w+|LD_LIBRARY_PATH|PATH")
# NAME=value, "NAME=two words" or docker's -eNAME=value
_VARIABLE_OF_A_COMMAND = re.compile(
    r"(?:(?<![\w-])|(?<=\s-e))(?P<quote>[\"'])?(?P<name>[A-Z_][A-Z0-9_]*)="
    rf"(?(quote)(?:(?!(?P=quote)).)*|(?:{_QUOTED}|\S*))"
)
_DIRECTIVE = re.compile(r"\s*(?P<name>\w+)\s*=\s*(?P<value>.*)")


def unit_files(text: str) -> str:
    """Show unit files as ``systemctl cat`` prints them, without comments and strange variables."""
    # Comments first: one between two lines does not end what the first continues.
    lines = [line for line in text.split("\n") if re.match(r"# /\S+$|\s*(?:[^#;\s]|$)", line)]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    return without_secrets("\n".join(map(_directive, joined.split("\n"))))


def _directive(line: str) -> str:
    match = _DIRECTIVE.fullmatch(line)
    if match is None:
        return line
    if match["name"].startswith("SetCredential"):
        return f"{match['name']}={REMOVED}"
    if match["name"] == "Environment":
        return f"Environment={' '.join(_assignments(match['value']))}"
    return _VARIABLE_OF_A_COMMAND.sub(_without_value, line)


def _without_value(match: re.Match[str]) -> str:
    is_shown = _is_harmless(match["name"])
    return match[0] if is_shown else f"{match['quote'] or ''}{match['name']}={REMOVED}"


def _assignments(value: str) -> Iterator[str]:
    try:
        words = shlex.split(value)
    except ValueError:
        words = [REMOVED]
    for word in words:
        name, equals, _ = word.partition("=")
        yield word if _is_harmless(name) else f"{name}={REMOVED}" if equals else REMOVED


def _is_harmless(variable: str) -> bool:
    named_secret = re.search(_SECRET_NAME, variable, re.IGNORECASE)
    return _VARIABLES.fullmatch(variable) is not None and not named_secret


def _meaningful(text: str, comment: str) -> list[str]:
    """Return the lines that are neither empty nor comments."""
    lines = text.removeprefix("\ufeff").splitlines()
    return [line for line in lines if line.strip() and line.lstrip()[0] not in comment]
