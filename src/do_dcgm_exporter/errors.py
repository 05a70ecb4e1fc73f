"""The errors this program raises on purpose; everything else is a bug."""

from __future__ import annotations


class ExporterError(Exception):
    """Something a person has to be told about in one sentence.

    ``exit_status`` is what the process ends with when nothing can go on.
    """

    exit_status = 1


class ConfigurationError(ExporterError):
    """Raised when an option, the configuration file or a named file is wrong."""

    exit_status = 2
