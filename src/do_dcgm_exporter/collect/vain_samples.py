"""Stop sampling what a GPU does not have, where the engine logs an error for each attempt."""

from __future__ import annotations

from collections.abc import Iterable

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.watcher import Watcher

# Bit error ratios of NVLinks, which GPUs have from NVLink 5 on. All releases that know these
# fields, 4.2 to 4.6, log an error for each sample of another GPU (ReadAndCacheNvLinkBer in
# DcgmCacheManager.cpp).
_COMPLAINED_OF = (1216, 1218)


def end_vain_samples(watcher: Watcher, watches: Iterable[Watch], readings: Readings) -> None:
    """End the watches of what ``readings`` say is not supported; it stays readable as such."""
    for watch in watches:
        for field_id in set(watch.field_ids).intersection(_COMPLAINED_OF):
            lacking = (
                entity
                for entity in watch.entities
                if readings.values.get((entity, field_id)) is Absence.NOT_SUPPORTED
            )
            watcher.end(lacking, field_id)
