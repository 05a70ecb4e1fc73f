"""What the exporter costs: ``make bench`` prints one table, measured in one run.

Clients, engine and exporter share the machine's cores, so only compare figures of the same
run, never those of different machines or days. What is compared is measured in turns, and
its ratio is taken in every round.
"""
