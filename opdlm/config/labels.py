"""What a way of decoding is called in a figure."""

from opdlm.config.decoding import DecodingSettings


def decoding_label(decoding: DecodingSettings) -> str:
    """A short name for a point of a sweep: the threshold, or the strategy."""
    if decoding.strategy == "dynamic":
        return f"{decoding.threshold:g}"
    return decoding.strategy if decoding.tokens_per_step == 1 else f"{decoding.strategy} {decoding.tokens_per_step}"


def threshold(decoding: DecodingSettings) -> float | None:
    """The confidence above which tokens are revealed together; 1 if it is one token a step, none if something else."""
    if decoding.strategy == "dynamic":
        return decoding.threshold
    return 1.0 if decoding.strategy == "static" and decoding.tokens_per_step == 1 else None
