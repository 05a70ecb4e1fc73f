"""Collectors: each turns what a cycle read into families of one source.

A collector fails alone: the session times each, and a failure costs its own families.
"""
