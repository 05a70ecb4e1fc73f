"""Decide who may ask and over which transport, as the web configuration file says."""
