"""``python3 -m do_dcgm_exporter``."""

import sys

from do_dcgm_exporter.cli import main

if __name__ == "__main__":
    sys.exit(main())
