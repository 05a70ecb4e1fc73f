"""The only package that knows DCGM: its bindings, its calls and its values."""
