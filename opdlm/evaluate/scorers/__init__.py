"""Scorers: from answers to verdicts. A scorer gets all rows of a benchmark and the samples that refer to them."""
