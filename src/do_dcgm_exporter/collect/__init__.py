"""One cycle of reading the engine, up to a result of plain values."""
