"""Benchmarks: generation of answers, scorers, and the sandbox for model-written code."""
