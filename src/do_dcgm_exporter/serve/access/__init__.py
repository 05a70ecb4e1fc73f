"""Who may ask, and over which transport: the web configuration file."""
