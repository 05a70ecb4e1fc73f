"""Names of containers, from the files that runtimes keep."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from do_dcgm_exporter.usage.containers import container_name

ID = "0123456789abcdef" * 4
TASK = f"io.containerd.runtime.v2.task/k8s.io/{ID}/config.json"
STORAGE = "var/lib/containers/storage/overlay-containers"
POD = {
    "io.kubernetes.cri.sandbox-namespace": "research",
    "io.kubernetes.cri.sandbox-name": "llm-0",
    "io.kubernetes.cri.container-name": "trainer",
}


def write(root: Path, place: str, content: object) -> None:
    file = root / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content))


@pytest.mark.parametrize(
    ("place", "content", "name"),
    [
        (f"var/lib/docker/containers/{ID}/config.v2.json", {"Name": "/trainer"}, "trainer"),
        (
            f"var/snap/docker/common/var-lib-docker/containers/{ID}/config.v2.json",
            {"Name": "/trainer"},
            "trainer",
        ),
        (
            f"{STORAGE}/containers.json",
            [{"id": "f" * 64, "names": ["other"]}, {"id": ID, "names": ["trainer"]}],
            "trainer",
        ),
        (f"{STORAGE}/volatile-containers.json", [{"id": ID, "names": ["trainer"]}], "trainer"),
        (f"run/containerd/{TASK}", {"annotations": POD}, "research/llm-0/trainer"),
        (f"run/k3s/containerd/{TASK}", {"annotations": POD}, "research/llm-0/trainer"),
        (f"run/containerd/{TASK}", {"annotations": {"nerdctl/name": "trainer"}}, "trainer"),
    ],
)
def test_each_runtime(tmp_path: Path, place: str, content: object, name: str) -> None:
    assert container_name(tmp_path, ID) is None
    write(tmp_path, place, content)
    assert container_name(tmp_path, ID) == name
    assert container_name(tmp_path, "e" * 64) is None


def test_docker_may_keep_its_data_elsewhere(tmp_path: Path) -> None:
    write(tmp_path, f"scratch/docker/containers/{ID}/config.v2.json", {"Name": "/trainer"})
    assert container_name(tmp_path, ID) is None
    write(tmp_path, "etc/docker/daemon.json", {"data-root": "/scratch/docker"})
    assert container_name(tmp_path, ID) == "trainer"


@pytest.mark.parametrize("content", ["", "[]", "{", '{"Name": 3}', '{"names": []}', "[" * 9000])
def test_a_file_of_another_shape_does_not_hide_the_next(tmp_path: Path, content: str) -> None:
    write(tmp_path, f"var/lib/docker/containers/{ID}/config.v2.json", content)
    write(tmp_path, "etc/docker/daemon.json", content)
    write(tmp_path, f"run/containerd/{TASK}", {"annotations": POD})
    assert container_name(tmp_path, ID) in {"research/llm-0/trainer", "3"}


def test_a_container_without_annotations_has_no_name(tmp_path: Path) -> None:
    write(tmp_path, f"run/containerd/{TASK}", {"ociVersion": "1.1.0"})
    assert container_name(tmp_path, ID) is None
