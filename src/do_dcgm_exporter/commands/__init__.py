"""Modes that do one thing and exit (--once, --check-config, --list-fields), and --simulate."""
