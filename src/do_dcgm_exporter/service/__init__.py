"""The running service: its threads, its signals, and systemd."""
