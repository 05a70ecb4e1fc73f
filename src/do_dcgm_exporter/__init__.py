"""Prometheus exporter and DigitalOcean forwarder of NVIDIA DCGM metrics."""

__version__ = "0.1.0"
