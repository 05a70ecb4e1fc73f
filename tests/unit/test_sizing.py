"""What is computed of a fleet, from figures that were measured."""

from __future__ import annotations

import gzip
import socket
from dataclasses import replace

from tests.bench.replay import pages_of
from tests.bench.sizing import (
    PageSize,
    Storage,
    Taken,
    check_table,
    figure_table,
    fleet_table,
    needs,
    page_table,
    readable,
    storage_of,
)

PAGE = PageSize("8 GPUs", gpus=8, samples=995, plain=150_000, compressed=10_000)
STORAGE = Storage(
    base_bytes=50e6,
    bytes_per_series=5_000,
    chunk_bytes_per_sample=1.5,
    index_bytes_per_series=100,
    cpu_seconds_per_sample=2e-6,
)


STORAGE_OF_FEW = Storage(
    base_bytes=50e6,
    bytes_per_series=5_000,
    chunk_bytes_per_sample=2.0,
    index_bytes_per_series=100,
    cpu_seconds_per_sample=3e-6,
)


def test_a_host_has_the_series_of_its_page_and_five_of_prometheus() -> None:
    assert PAGE.series == 1000


def test_what_a_fleet_takes_grows_with_its_hosts() -> None:
    need = needs(100, PAGE, STORAGE, interval=20)
    assert need.series == 100_000
    assert need.samples_per_second == 5000
    assert need.network_bytes_per_second == 50_000
    assert need.memory_bytes == 550e6
    # 15 days of 5000 samples a second in chunks, and ten blocks with an index.
    assert need.disk_bytes == 15 * 86_400 * 5000 * 1.5 + 10 * 100_000 * 100
    assert need.cores == 0.01


def test_half_the_interval_is_twice_the_samples_in_the_same_series() -> None:
    need = needs(100, PAGE, STORAGE, interval=10)
    assert (need.series, need.samples_per_second) == (100_000, 10_000)


def test_numbers_are_written_as_people_read_them() -> None:
    assert [readable(n) for n in (500, 50_000, 7.5e6, 550e6, 44.3e9)] == [
        "0 kB", "50 kB", "7.5 MB", "550 MB", "44.3 GB",
    ]  # fmt: skip
    assert page_table([PAGE])[-1] == "| 8 GPUs | 995 | 1,000 | 150,000 | 10,000 |"
    (row,) = fleet_table([("one", needs(1, PAGE, STORAGE))])[2:]
    assert row.startswith("| one | 1,000 | 50 | 0 kB/s | 55 MB | ")


def test_a_replayed_host_has_a_name_and_gpus_of_its_own() -> None:
    name = socket.gethostname()
    page = f'A{{UUID="GPU-5a5a0001-1",Hostname="{name}"}} 1\n'.encode()
    (first,), (second,) = pages_of(1, [page]), pages_of(2, [page])
    assert gzip.decompress(first) == b'A{UUID="GPU-00010001-1",Hostname="gpu-host-00001"} 1\n'
    assert gzip.decompress(second) == b'A{UUID="GPU-00020001-1",Hostname="gpu-host-00002"} 1\n'


def test_few_hosts_tell_what_many_take() -> None:
    few = Taken(
        targets=50, targets_up=50, series=50_000, samples=3_000_000, resident_bytes=300e6,
        chunk_bytes=6_000_000, index_bytes=5_000_000, cpu_seconds=9.0, slowest_scrape_seconds=0.1,
    )  # fmt: skip
    storage = storage_of(50e6, few)
    assert storage == STORAGE_OF_FEW
    many = replace(few, targets=200, targets_up=199, series=200_000, samples=12_000_000)
    table = check_table(PAGE, storage, few, many)
    assert table[0] == "| 200 hosts | predicted from 50 | measured |"
    assert "| targets up | 200 | 199 |" in table
    assert "| series | 200,000 | 200,000 |" in table
    assert "| memory | 1.1 GB | 300 MB |" in table  # 50 MB and 200,000 series of 5 kB
    assert "| a block of 12,000,000 samples | 44 MB | 11 MB |" in table
    assert "| CPU | 36 s | 9 s |" in table
    assert "| memory per series | 5,000 bytes |" in figure_table(storage)
