"""Faults and a day's cycles on real processes: what the exporter promises, measured.

The exporter, a simulated engine and an endpoint run as in production, scraped all the while.
"""
