"""Benchmarks: one file per question, each prints a table and writes one JSON file."""
