"""Collectors, each of which turns what a cycle read into the families of one source.

A collector fails alone: a failure costs only its own families.
"""
