"""Measurements as ratios within one run: `make benchmarks`."""
