"""The page at ``/`` without the status page: where everything else is."""

from __future__ import annotations

from do_dcgm_exporter.serve.http.response import HTML, Content

_LINKS = b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>do-dcgm-exporter</title></head>
<body>
<h1>do-dcgm-exporter</h1>
<ul>
<li><a href="metrics">Metrics</a></li>
<li><a href="health">Health</a></li>
</ul>
</body>
</html>
"""


def links_page() -> Content:
    """Return the page."""
    return Content(_LINKS, HTML)
