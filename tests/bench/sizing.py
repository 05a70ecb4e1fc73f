"""What a fleet costs Prometheus, computed from measurements: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

OWN_SERIES = 5
"""What Prometheus adds per target: up, scrape_duration_seconds, scrape_samples_scraped,
scrape_samples_post_metric_relabeling, scrape_series_added."""
INTERVAL = 20.0
"""Seconds between two scrapes: as often as the exporter reads by default."""
RETENTION_DAYS = 15
"""Seconds that samples are kept, by Prometheus' default."""
BLOCKS = 10
"""Prometheus merges blocks up to a tenth of the retention time."""
GIGABYTE = 1e9
SECONDS_PER_DAY = 86_400


@dataclass(frozen=True)
class PageSize:
    """A page of one kind of host."""

    machine: str
    gpus: int
    samples: int
    plain: int
    compressed: int
    """Bytes, like the sizes above."""

    @property
    def series(self) -> int:
        """The series that a host of this kind has in Prometheus."""
        return self.samples + OWN_SERIES


@dataclass(frozen=True)
class Storage:
    """What Prometheus used while scraping, from which `Needs` are computed."""

    base_bytes: float
    """Memory of a Prometheus that scrapes nothing."""
    bytes_per_series: float
    """Memory beyond that, by series in the head."""
    chunk_bytes_per_sample: float
    index_bytes_per_series: float
    """On disk, in a block."""
    cpu_seconds_per_sample: float


@dataclass(frozen=True)
class Taken:
    """What one Prometheus has used by the end of a run."""

    targets: int
    targets_up: int
    series: int
    samples: int
    resident_bytes: float
    chunk_bytes: int
    index_bytes: int
    """On disk, in a block written from memory at the end."""
    cpu_seconds: float
    slowest_scrape_seconds: float


def storage_of(base_bytes: float, taken: Taken) -> Storage:
    """Return the cost of a series and a sample, on top of a Prometheus that scrapes nothing."""
    return Storage(
        base_bytes=base_bytes,
        bytes_per_series=(taken.resident_bytes - base_bytes) / taken.series,
        chunk_bytes_per_sample=taken.chunk_bytes / taken.samples,
        index_bytes_per_series=taken.index_bytes / taken.series,
        cpu_seconds_per_sample=taken.cpu_seconds / taken.samples,
    )


@dataclass(frozen=True)
class Needs:
    """What one fleet costs."""

    hosts: int
    series: int
    samples_per_second: float
    network_bytes_per_second: float
    memory_bytes: float
    disk_bytes: float
    cores: float


def needs(hosts: int, page: PageSize, storage: Storage, interval: float = INTERVAL) -> Needs:
    """Return the cost of ``hosts`` of one kind, in a single Prometheus with default retention."""
    series = hosts * page.series
    rate = series / interval
    kept = rate * RETENTION_DAYS * SECONDS_PER_DAY
    return Needs(
        hosts=hosts,
        series=series,
        samples_per_second=rate,
        network_bytes_per_second=hosts * page.compressed / interval,
        memory_bytes=storage.base_bytes + series * storage.bytes_per_series,
        disk_bytes=kept * storage.chunk_bytes_per_sample
        + BLOCKS * series * storage.index_bytes_per_series,
        cores=rate * storage.cpu_seconds_per_sample,
    )


def page_table(pages: Sequence[PageSize]) -> list[str]:
    """Return the table of pages in docs/fleet.md."""
    return [
        "| host | samples on the page | series in Prometheus | bytes per scrape | gzipped |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {page.machine} | {page.samples:,} | {page.series:,} | {page.plain:,} "
            f"| {page.compressed:,} |"
            for page in pages
        ),
    ]


def fleet_table(fleets: Sequence[tuple[str, Needs]]) -> list[str]:
    """Return the table of fleets in docs/fleet.md."""
    return [
        "| fleet | series | samples/s | network | memory | disk, 15 days | CPU |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {need.series:,} | {need.samples_per_second:,.0f} "
            f"| {readable(need.network_bytes_per_second)}/s | {readable(need.memory_bytes)} "
            f"| {readable(need.disk_bytes)} | {need.cores:.2f} cores |"
            for name, need in fleets
        ),
    ]


def readable(count: float) -> str:
    """Return a readable number of bytes, with two significant digits."""
    if count >= GIGABYTE:
        return f"{count / GIGABYTE:,.1f} GB"
    if count >= 1e7:
        return f"{count / 1e6:,.0f} MB"
    return f"{count / 1e6:,.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"


def figure_table(storage: Storage) -> list[str]:
    """Return the table of the five figures in docs/fleet.md."""
    return [
        "| figure | |",
        "| --- | --- |",
        f"| memory of an idle Prometheus | {readable(storage.base_bytes)} |",
        f"| memory per series | {storage.bytes_per_series:,.0f} bytes |",
        f"| disk per sample, in a block | {storage.chunk_bytes_per_sample:.2f} bytes |",
        f"| index per series, in a block | {storage.index_bytes_per_series:,.0f} bytes |",
        f"| CPU per sample | {storage.cpu_seconds_per_sample * 1e6:.1f} µs |",
    ]


def check_table(page: PageSize, by_few: Storage, few: Taken, many: Taken) -> list[str]:
    """Return the table of what ``few`` hosts predict for ``many``, and what was measured."""
    series = many.targets * page.series
    memory = by_few.base_bytes + series * by_few.bytes_per_series
    disk = many.samples * by_few.chunk_bytes_per_sample + series * by_few.index_bytes_per_series
    cpu = many.samples * by_few.cpu_seconds_per_sample
    seen_disk = many.chunk_bytes + many.index_bytes
    return [
        f"| {many.targets} hosts | predicted from {few.targets} | measured |",
        "| --- | --- | --- |",
        f"| targets up | {many.targets} | {many.targets_up} |",
        f"| series | {series:,} | {many.series:,} |",
        f"| memory | {readable(memory)} | {readable(many.resident_bytes)} |",
        f"| a block of {many.samples:,} samples | {readable(disk)} | {readable(seen_disk)} |",
        f"| CPU | {cpu:.0f} s | {many.cpu_seconds:.0f} s |",
        f"| slowest of the last scrapes | | {many.slowest_scrape_seconds:.2f} s |",
    ]
