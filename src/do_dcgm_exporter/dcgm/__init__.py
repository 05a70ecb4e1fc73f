"""The only room that knows DCGM: its bindings, its calls and its values."""
