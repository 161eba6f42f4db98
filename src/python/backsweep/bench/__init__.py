"""Benchmarks that check one another: workloads, peers, and the race between them.

`backsweep bench` runs a few of them; `benchmarks/` in the sources all of them, and writes the tables and charts.
"""
