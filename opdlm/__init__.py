"""OPDLM: on-policy distillation of block-diffusion language models (arXiv 2606.06712)."""

__version__ = "0.1.0"
