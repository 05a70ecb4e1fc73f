"""What the exporter costs: ``make bench`` prints one table, measured in one run.

Clients, engine and exporter share the machine's cores, so compare figures of one run
with each other, never with those of another machine or another day: what is compared is
measured in turns, round by round, and its ratio is taken in every round.
"""
