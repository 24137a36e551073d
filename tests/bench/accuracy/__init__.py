"""A frozen accuracy benchmark for any network: see `tests.bench.accuracy.__main__`."""
