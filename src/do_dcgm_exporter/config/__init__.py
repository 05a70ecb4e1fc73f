"""Read what the user asked for: options, the configuration file, the counters."""
