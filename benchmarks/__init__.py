"""Benchmarks: each prints its figures and writes them under `reports/`, beside a floor measured in the same run."""
