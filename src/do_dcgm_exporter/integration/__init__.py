"""Find other exporters on this machine, connect them to the one engine, and undo that."""
