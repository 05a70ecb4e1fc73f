"""Decide what each finding is and what to do about it: pure functions."""
