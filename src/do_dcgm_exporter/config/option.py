"""One option: its spellings, what it accepts, its default, its help."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from do_dcgm_exporter.config.counter_files import NO_GROUP
from do_dcgm_exporter.config.option_values import OneOf, parse_boolean
from do_dcgm_exporter.errors import ConfigurationError

_AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    A switch has no ``parse``; its first two flags are ``--x`` and ``--no-x``, and one that
    can be left to the program also has ``--x-auto``. ``default`` is what the help shows: for
    a switch ``on``, ``off`` or ``auto``, otherwise the text to parse, or in parentheses how
    the value is worked out. ``setting`` is the field of Settings it sets: without one, the
    field named like the option; if empty, none.
    """

    flags: tuple[str, ...]
    help: str
    default: str
    parse: Callable[[str], object] | None = None
    metavar: str | None = None
    repeatable: bool = False
    setting: str | None = None

    @property
    def name(self) -> str:
        """Its key in the configuration file, by which values are kept as well."""
        return next(flag[2:] for flag in self.flags if flag.startswith("--"))

    @property
    def field(self) -> str:
        """The field of Settings that holds its value, empty if there is none."""
        return self.name.replace("-", "_") if self.setting is None else self.setting

    @property
    def opposite(self) -> str | None:
        """The key that turns a switch off."""
        return f"no-{self.name}" if self.parse is None else None

    @property
    def auto_flag(self) -> str | None:
        """The flag that leaves a switch to the program, if it has one."""
        flag = f"--{self.name}-{_AUTO}"
        return flag if flag in self.flags else None

    @property
    def default_value(self) -> object:
        """The default value; None if it has to be worked out."""
        if self.parse is None:
            return None if self.default == _AUTO else self.default == "on"
        return None if self.default.startswith("(") else self.parse(self.default)

    @property
    def example(self) -> str:
        """What can be written after its key in the configuration file."""
        if self.parse is None:
            return "yes, no or auto" if self.auto_flag else "yes or no"
        if isinstance(self.parse, OneOf):
            *others, last = self.parse.allowed
            return f"{', '.join(others)} or {last}"
        return (self.metavar or "VALUE") if self.default.startswith("(") else self.default

    def value(self, written: str | list[str]) -> object:
        """Return the value of a text or list of texts. Raises ConfigurationError."""
        if self.repeatable:
            return self._values(written)
        text = _text(written)
        if self.parse is not None:
            return self.parse(text)
        if not self.auto_flag:
            return parse_boolean(text)
        return None if text.lower() == _AUTO else parse_boolean(text, _AUTO)

    def opposite_value(self, written: str | list[str]) -> bool:
        """Return the value of a switch by what its opposite is set to."""
        return not parse_boolean(_text(written))

    def _values(self, written: str | list[str]) -> list[object]:
        assert self.parse is not None, "a switch is not repeatable"
        if isinstance(written, list):
            if not written:
                nothing = NO_GROUP if isinstance(self.parse, OneOf) else "/dev/null for no file"
                raise ConfigurationError(f"the list is empty; write {nothing}")
            return [self.parse(text) for text in written]
        if written.startswith("["):
            raise ConfigurationError("the list does not end on its line with ]")
        try:
            return [self.parse(written)]
        except ConfigurationError as error:
            if "," not in written:
                raise
            words = ", ".join(word.strip() for word in written.split(","))
            raise ConfigurationError(f"{error}; several are written [{words}]") from error


def _text(written: str | list[str]) -> str:
    """Put a list back together: an address like [::1] looks like one."""
    return written if isinstance(written, str) else f"[{', '.join(written)}]"
