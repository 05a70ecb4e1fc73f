"""From command line, environment and file to Settings, the same way at start and at reload."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from do_dcgm_exporter.config.counter_groups import group_files
from do_dcgm_exporter.config.droplet import DMI, is_droplet
from do_dcgm_exporter.config.options import CONFIG_FILE_NAME, DEFAULT_FORWARD_URL, ETC
from do_dcgm_exporter.config.parser import OptionParser
from do_dcgm_exporter.config.settings import LogFormat, Settings
from do_dcgm_exporter.config.text_files import may_be_there
from do_dcgm_exporter.errors import ConfigurationError

# Running from a clone: src/do_dcgm_exporter/ and etc/do-dcgm-exporter/ have one parent.
_CHECKOUT_ETC = Path(__file__).resolve().parents[3] / "etc" / "do-dcgm-exporter"


def load_settings(
    argv: Sequence[str], environ: Mapping[str, str], etc: Path = ETC, dmi: Path = DMI
) -> Settings:
    """Read the whole configuration anew; raises ConfigurationError."""
    parser = OptionParser()
    flags = parser.parse_flags(argv)
    return _settings(parser.parse_layers(flags, environ, etc / CONFIG_FILE_NAME), etc, dmi)


def _settings(values: Mapping[str, Any], etc: Path, dmi: Path) -> Settings:
    interval = values["collect_interval"]
    stale_after = values["stale_after"] or 3 * interval
    if stale_after < interval:
        raise ConfigurationError(
            "stale-after is shorter than collect-interval, so every value would be stale:"
            f" write at least {interval * 1000:.0f}"
        )
    return Settings(
        default_counters=values["default_counters"] or _default_counters(etc),
        # The user's counters first: of two lines for one field the first one stands.
        collectors=(
            *(values["collectors"] or _default_collectors(etc)),
            *group_files(values["counter_groups"] or ()),
        ),
        address=values["address"],
        status_page=values["status_page"],
        web_config_file=values["web_config_file"],
        collect_interval=interval,
        engine=values["remote_hostengine_info"],
        gpus=values["devices"],
        switches=values["switch_devices"],
        cpus=values["cpu_devices"],
        show_hostname=values["hostname"],
        hostname_label=values["hostname_label"],
        xid_window=values["xid_count_window_size"],
        clock_events_window=values["clock_events_count_window_size"],
        xid_zero_fill=values["xid_zero_fill"],
        replace_blanks_in_model_name=values["replace_blanks_in_model_name"],
        label_fields_as_info=values["label_fields_as_info"],
        hpc_job_mapping_dir=values["hpc_job_mapping_dir"],
        forward=_forward(values, dmi),
        forward_url=values["forward_url"],
        forward_interval=values["forward_interval"],
        forward_timeout=values["forward_timeout"],
        stale_after=stale_after,
        dcgm_bindings=values["dcgm_bindings"],
        log_format=LogFormat(values["log_format"]),
        log_level="debug" if values["debug"] else values["log_level"],
    )


def _forward(values: Mapping[str, Any], dmi: Path) -> bool:
    """Whether to forward: as said, else on a droplet or to an endpoint of the user's own."""
    if values["forward"] is not None:
        return bool(values["forward"])
    return is_droplet(dmi) or values["forward_url"] != DEFAULT_FORWARD_URL


def _default_counters(etc: Path) -> Path:
    """Return the installed default counters, or those of the clone the program runs from."""
    installed = etc / "default-counters.csv"
    in_clone = _CHECKOUT_ETC / "default-counters.csv"
    return in_clone if os.path.exists(in_clone) and not os.path.exists(installed) else installed


def _default_collectors(etc: Path) -> tuple[Path, ...]:
    """Return the user's installed file; that of a clone has no counter switched on."""
    installed = etc / "collectors.csv"
    return (installed,) if may_be_there(installed) else ()
