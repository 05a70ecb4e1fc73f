"""Prometheus exporter and DigitalOcean forwarder of NVIDIA DCGM metrics."""

from do_dcgm_exporter.version import read_version

__version__ = read_version()
