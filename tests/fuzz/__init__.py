"""Coverage-guided fuzzing of every language the exporter reads: ``make fuzz``.

A target is a module in ``targets`` with ``fuzz(data: bytes) -> None``, which raises if any bytes
get something other than a verdict; its seeds are the files in ``seeds/NAME``. A new target needs
nothing else. The corpus of a run stays in build/fuzz, out of git. An input that broke something
becomes a seed, and make test-all runs all seeds.
"""
