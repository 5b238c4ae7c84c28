"""The block-diffusion Qwen3, its conversion from an autoregressive checkpoint, and checkpoints on disk."""
