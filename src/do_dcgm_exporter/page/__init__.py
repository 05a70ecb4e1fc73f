"""Turn the result of a cycle into the bytes of a page."""
