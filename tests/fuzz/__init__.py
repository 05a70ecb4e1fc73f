"""Coverage-guided fuzzing of every language the exporter reads: ``make fuzz``.

A target is a module in ``targets`` with ``fuzz(data: bytes) -> None``, which raises where any
bytes get something else than a verdict; its seeds are the files in ``seeds/NAME``. That is all
that a new one needs. What a run finds interesting stays in build/fuzz, out of git; an input
that broke something becomes a seed, and make test-all runs every seed for good.
"""
