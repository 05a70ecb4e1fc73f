"""Speak HTTP/1.1, strictly and within limits."""
