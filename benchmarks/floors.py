"""The least time a decoding forward can take, from the model's shape and two ceilings of the machine.

A forward runs every linear layer over its tokens, attention over the cache, and the LM head, one after the other. Each
of the three does an amount of arithmetic and moves an amount of memory, and takes at least the longer of the two times;
the floor of the forward is their sum. Counted are the weights once, the keys and values of every sequence once, and the
multiplications and additions for all tokens of all blocks, masked or not. Left out is what a perfect implementation
would hide or not need: activations, logits, sampling, prefill, and the pass that commits a finished block (a block of 4
that reveals one token a forward costs 4 forwards, not 5).
"""

from dataclasses import dataclass

from opdlm.config.models import TinyArchitecture
from opdlm.model.shape import QWEN3_VOCABULARY, Shape

BYTES = 2
"""Of one bf16 number."""


def _qwen3(hidden: int, intermediate: int, layers: int, heads: int, tied: bool) -> Shape:
    return Shape(
        vocab_size=QWEN3_VOCABULARY,
        hidden_size=hidden,
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40960,
        tie_word_embeddings=tied,
    )


SHAPES = {
    "tiny": Shape(**TinyArchitecture().model_dump(), tie_word_embeddings=True),
    "0.6B": _qwen3(1024, 3072, layers=28, heads=16, tied=True),
    "1.7B": _qwen3(2048, 6144, layers=28, heads=16, tied=True),
    "4B": _qwen3(2560, 9728, layers=36, heads=32, tied=True),
    "8B": _qwen3(4096, 12288, layers=36, heads=32, tied=False),
}
"""The autoregressive models, as their `config.json` has them, and the tiny family's."""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """What the machine can do at most: arithmetic in FLOP/s, memory traffic (read and written) in bytes/s."""

    flops: float
    bandwidth: float


@dataclass(frozen=True, slots=True)
class Work:
    """Arithmetic in FLOP and memory traffic in bytes, which can overlap."""

    flops: float
    traffic: float

    def seconds(self, ceilings: Ceilings) -> float:
        """The least time for it."""
        return max(self.flops / ceilings.flops, self.traffic / ceilings.bandwidth)


@dataclass(frozen=True, slots=True)
class Forward:
    """The work of one forward, in three parts of which each waits for the one before."""

    linears: Work
    attention: Work
    head: Work

    @property
    def flops(self) -> float:
        """All arithmetic, in FLOP."""
        return self.linears.flops + self.attention.flops + self.head.flops

    @property
    def traffic(self) -> float:
        """All memory traffic, in bytes."""
        return self.linears.traffic + self.attention.traffic + self.head.traffic

    def seconds(self, ceilings: Ceilings) -> float:
        """The floor of this forward."""
        return sum(part.seconds(ceilings) for part in (self.linears, self.attention, self.head))


def forward_work(shape: Shape, sequences: int, block: int, context: float) -> Forward:
    """The work of one forward in bf16.

    Args:
        shape: of the model.
        sequences: in flight.
        block: tokens forwarded for each sequence; 1 for an autoregressive model.
        context: tokens that each of them sees, on average over the answer.
    """
    tokens, heads = sequences * block, shape.num_attention_heads * shape.head_dim
    keys_and_values = 2 * shape.num_key_value_heads * shape.head_dim * shape.num_hidden_layers
    linears, head = linear_parameters(shape), shape.vocab_size * shape.hidden_size
    return Forward(
        linears=Work(2 * linears * tokens, BYTES * linears),
        # Two products, of queries with keys and of probabilities with values, hence 2 x 2 operations.
        attention=Work(
            4 * heads * shape.num_hidden_layers * tokens * context, BYTES * keys_and_values * sequences * context
        ),
        head=Work(2 * head * tokens, BYTES * head),
    )


def linear_parameters(shape: Shape) -> int:
    """Weights of all layers' projections, LM head and embedding not included."""
    queries = shape.num_attention_heads * shape.head_dim
    keys = shape.num_key_value_heads * shape.head_dim
    attention = shape.hidden_size * (2 * queries + 2 * keys)
    return shape.num_hidden_layers * (attention + 3 * shape.hidden_size * shape.intermediate_size)


def floor_tokens_per_second(forward: Forward, ceilings: Ceilings, sequences: int, tokens_per_step: float) -> float:
    """The most tokens a second that all sequences together can write if a forward reveals `tokens_per_step` of each."""
    return sequences * tokens_per_step / forward.seconds(ceilings)
