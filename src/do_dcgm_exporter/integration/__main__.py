"""``python3 -m do_dcgm_exporter.integration``."""

from __future__ import annotations

import sys

from do_dcgm_exporter.integration.cli import main

sys.exit(main())
