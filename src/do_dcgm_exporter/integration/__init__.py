"""The other exporters of this machine: find them, connect them to the one engine, put them back."""
