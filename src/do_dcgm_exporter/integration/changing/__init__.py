"""Change units and prove that they came back, or undo it."""
