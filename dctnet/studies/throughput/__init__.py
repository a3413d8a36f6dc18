"""Throughput study: images per second of every input pipeline."""
