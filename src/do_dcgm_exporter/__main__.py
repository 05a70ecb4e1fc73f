"""``python3 -m do_dcgm_exporter``."""

from do_dcgm_exporter.program import run

if __name__ == "__main__":
    run()
