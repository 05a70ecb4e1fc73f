"""What the exporter costs: ``make bench`` prints one table, measured in one run.

Clients and exporter share the machine's cores, so compare figures of one run with each
other and with the same run of another revision, never with those of another machine.
"""
