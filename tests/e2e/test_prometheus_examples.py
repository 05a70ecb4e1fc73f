"""The configurations of examples/prometheus, run by a real Prometheus."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.conftest import Stage
from tests.e2e.exporter import ROOT, Exporter
from tests.e2e.prometheus import Prometheus, needs_prometheus, promtool
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples" / "prometheus"
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"

pytestmark = needs_prometheus

# What DigitalOcean's API tells of an account; addresses are those of this machine.
DROPLETS = {
    "gpu-1": {"size": "gpu-h100x8-640gb", "status": "active", "private_ipv4": "127.9.0.1"},
    "public": {"size": "gpu-l40sx1-48gb", "status": "active", "private_ipv4": ""},
    "amd": {"size": "gpu-mi300x8-1536gb", "status": "active", "private_ipv4": "127.9.0.3"},
    "web": {"size": "s-1vcpu-1gb", "status": "active", "private_ipv4": "127.9.0.4"},
    "off": {"size": "gpu-h100x1-80gb", "status": "off", "private_ipv4": "127.9.0.5"},
}


@pytest.fixture(scope="module")
def etc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the examples expect in /etc/prometheus."""
    directory = tmp_path_factory.mktemp("etc-prometheus")
    for name in ("rules", "gpu-hosts"):
        (directory / name).mkdir()
    for name in ("alerts.yml", "recording-rules.yml"):
        shutil.copy(EXAMPLES / name, directory / "rules")
    shutil.copy(EXAMPLES / "gpu-hosts.yml", directory / "gpu-hosts")
    for name in ("digitalocean-token", "remote-write-password"):
        (directory / name).write_text("secret")
    return directory


def example(name: str, etc: Path) -> str:
    """The text of an example, for another directory than /etc/prometheus."""
    return (EXAMPLES / name).read_text().replace("/etc/prometheus", str(etc))


@pytest.fixture(scope="module")
def exporter(shared_stage: Stage) -> Exporter:
    exporter = shared_stage.exporter(shared_stage.engine("h100x1"))
    exporter.wait_until_up()
    return exporter


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("prometheus-digitalocean.yml", []),
        ("prometheus-files.yml", []),
        ("prometheus-global.yml", []),
        ("prometheus-agent.yml", ["--agent"]),
    ],
)
def test_promtool_finds_it_well_formed(
    etc: Path, tmp_path: Path, name: str, flags: list[str]
) -> None:
    (tmp_path / name).write_text(example(name, etc))
    promtool("check", "config", *flags, tmp_path / name)


def test_what_is_switched_off_in_it_is_well_formed_too(etc: Path, tmp_path: Path) -> None:
    switched_off = r"(?m)^( *)#(?=- \{|metric_relabel|alerting|  alertmanagers|  - static)"
    text, count = re.subn(switched_off, r"\1", example("prometheus-digitalocean.yml", etc))
    assert count > 5
    (tmp_path / "all.yml").write_text(text)
    promtool("check", "config", tmp_path / "all.yml")
    assert yaml.safe_load(text)["alerting"]
    assert yaml.safe_load(text)["scrape_configs"][0]["metric_relabel_configs"]


def test_a_global_prometheus_has_what_the_rules_made_of_each_host(
    etc: Path, tmp_path: Path, exporter: Exporter
) -> None:
    config = hasty(example("prometheus-files.yml", etc))
    (etc / "gpu-hosts" / "gpu-hosts.yml").write_text(
        yaml.safe_dump([{"targets": [f"127.0.0.1:{exporter.port}"], "labels": {"instance": "a"}}])
    )
    with Prometheus(tmp_path / "shard", config) as shard:
        config = example("prometheus-global.yml", etc)
        config = re.sub(r"targets: .*", f"targets: ['127.0.0.1:{shard.port}']", config)
        with Prometheus(tmp_path / "global", hasty(config)) as over_all:
            power = "instance:dcgm_power_usage_watts:sum"
            wait_until(lambda: over_all.query(power), "a recorded value")
            ((labels, _),) = over_all.query(power)
            assert labels["instance"] == "a"
            assert over_all.query(TEMPERATURE) == []


def test_of_an_accounts_droplets_those_with_nvidia_gpus_are_scraped_over_the_vpc(
    etc: Path, tmp_path: Path
) -> None:
    """Discovery itself needs the API; what it would tell comes from a file instead."""
    config: dict[str, Any] = yaml.safe_load(example("prometheus-digitalocean.yml", etc))
    (job,) = config["scrape_configs"]
    assert job.pop("digitalocean_sd_configs")[0]["port"] == 9401
    groups = []
    for number, (name, told) in enumerate(DROPLETS.items()):
        droplet = told | {"droplet_name": name, "droplet_id": str(number), "region": "tor1"}
        labels = {f"__meta_digitalocean_{key}": value for key, value in droplet.items()}
        groups.append({"targets": [f"127.8.0.{number}:9401"], "labels": labels})
    (tmp_path / "droplets.yml").write_text(yaml.safe_dump(groups))
    job["file_sd_configs"] = [{"files": [str(tmp_path / "droplets.yml")]}]
    with Prometheus(tmp_path / "prometheus", yaml.safe_dump(config)) as prometheus:

        def targets() -> dict[str, dict[str, Any]]:
            found = prometheus.ask("targets")["activeTargets"]
            return {target["labels"]["instance"]: target for target in found}

        wait_until(targets, "targets")
        found = targets()
    assert set(found) == {"gpu-1", "public"}
    assert found["gpu-1"]["scrapeUrl"] == "http://127.9.0.1:9401/metrics"
    assert found["public"]["scrapeUrl"] == "http://127.8.0.1:9401/metrics"
    assert found["gpu-1"]["labels"] == {
        "instance": "gpu-1", "job": "do-dcgm-exporter", "droplet_id": "0", "region": "tor1",
        "size": "gpu-h100x8-640gb",
    }  # fmt: skip


def test_targets_come_from_files_and_are_called_by_their_names(
    etc: Path, tmp_path: Path, exporter: Exporter
) -> None:
    hosts = etc / "gpu-hosts" / "gpu-hosts.yml"
    text = (EXAMPLES / hosts.name).read_text()
    for written, real in (
        ("gpu-1.example.internal:9401", f"localhost:{exporter.port}"),
        ("gpu-2.example.internal:9401", "localhost:1"),
        ("10.0.0.7:9401", f"127.0.0.1:{exporter.port}"),
    ):
        assert written in text
        text = text.replace(written, real)
    hosts.write_text(text)
    with Prometheus(
        tmp_path / "prometheus", hasty(example("prometheus-files.yml", etc))
    ) as prometheus:

        def found() -> dict[str, dict[str, str]]:
            return {labels["instance"]: labels for labels, _ in prometheus.query(TEMPERATURE)}

        wait_until(lambda: set(found()) == {"localhost", "gpu-3"}, "both are scraped")
        assert found()["localhost"]["region"] == "tor1"
        assert found()["gpu-3"]["size"] == "gpu-h100x1-80gb"


def test_an_agent_writes_to_a_central_prometheus(
    etc: Path, tmp_path: Path, exporter: Exporter
) -> None:
    with Prometheus(
        tmp_path / "central", "global: {}", "--web.enable-remote-write-receiver"
    ) as central:
        config = hasty(example("prometheus-agent.yml", etc))
        for written, real in (
            ("https://prometheus.example.com", f"http://127.0.0.1:{central.port}"),
            ("localhost:9401", f"localhost:{exporter.port}"),
        ):
            assert written in config
            config = config.replace(written, real)
        with Prometheus(tmp_path / "agent", config, "--enable-feature=agent", storage="agent"):
            wait_until(lambda: central.query(TEMPERATURE), "samples from the agent")
            ((labels, _),) = central.query(TEMPERATURE)
            assert (labels["instance"], labels["region"]) == ("gpu-1", "tor1")
            assert central.query('up{instance="gpu-1"} == 1')


def hasty(config: str) -> str:
    """The same configuration, but that it scrapes and evaluates twice a second."""
    return re.sub("(scrape_interval|scrape_timeout|evaluation_interval): .*", r"\1: 500ms", config)
