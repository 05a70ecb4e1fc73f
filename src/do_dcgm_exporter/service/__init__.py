"""Run the service: its threads, its signals, its dealings with systemd."""
