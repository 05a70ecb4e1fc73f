"""The modes that do one thing and end: --once, --check-config, --list-fields, --simulate."""
