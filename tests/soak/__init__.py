"""Long tests of the real program, each a command of its own with figures as its result."""
