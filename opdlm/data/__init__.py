"""Rows of prompts and benchmarks: sources, schemas, prompt wording, and the tiny generated tasks."""
