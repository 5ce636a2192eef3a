"""The service under load: see `benchmarks.serving.__main__` for how to run it."""
