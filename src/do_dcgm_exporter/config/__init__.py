"""Read what was asked for: options, the configuration file, the counters."""
