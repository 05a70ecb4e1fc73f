"""The Grafana dashboards, from which `python3 -m tools.dashboards` writes examples/grafana."""
