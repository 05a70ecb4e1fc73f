"""``check``: what is on this machine, and what is wrong with it."""

from __future__ import annotations

import json
import os

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.integration.deciding.problems import notices, problems
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.own_service import read_as_service
from do_dcgm_exporter.integration.looking.survey import look_at_own_service, survey
from do_dcgm_exporter.integration.looking.systemd import Systemd
from do_dcgm_exporter.integration.reporting import check_data, check_report
from do_dcgm_exporter.output import write

_CLEAN, _PROBLEMS, _COULD_NOT_LOOK = 0, 1, 2


def check(host: Host, *, as_json: bool) -> int:
    """Print what is found; return 0 if all is well, 1 with problems, 2 if it could not look."""
    systemd = Systemd()
    service, unseen = look_at_own_service(host, systemd)
    try:
        settings, error = read_as_service(host, service, os.environ), ""
    except ConfigurationError as wrong:
        settings, error = IntegrationSettings(), str(wrong)
    found = survey(host, systemd, settings, error, service, unseen)
    wrong_things, good_to_know = problems(found), notices(found)
    if as_json:
        text = json.dumps(check_data.as_data(found, wrong_things, good_to_know), indent=2)
    else:
        text = check_report.as_text(found, wrong_things, good_to_know)
    write(f"{text}\n")
    if wrong_things:
        return _PROBLEMS
    return _COULD_NOT_LOOK if found.unseen else _CLEAN
