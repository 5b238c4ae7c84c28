"""The rollout engine: block-diffusion decoding of many requests at once, with a key/value cache.

Each sequence in flight has its current block. A step forwards, for every sequence, the tokens whose clean keys and
values are not yet cached (the block just finished, if any) together with the current block, draws a token for every
masked position, and reveals those that the strategy accepts. A finished block is therefore committed by the forward
that starts the next one. Autoregressive decoding is the same loop with blocks of one token and logits shifted by one:
the query is the token before the position to fill.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from opdlm.config.decoding import DecodingSettings
from opdlm.decode.batch import Plan
from opdlm.decode.cache import kernel_fits
from opdlm.decode.flight import Flight
from opdlm.decode.request import Request, Rollout
from opdlm.decode.scheduler import waiting_line
from opdlm.decode.slots import Slots
from opdlm.decode.strategy import RemaskingStrategy, make_strategy
from opdlm.errors import DataError, SettingsError
from opdlm.model.qwen3 import Qwen3

log = logging.getLogger(__name__)


class Engine:
    """Decodes requests with a model.

    Between two calls it holds nothing but the weights, which are the model's own.

    Args:
        model: the weights; the trainer's own module may be passed. On a CUDA device its projections are moved so that
            they lie side by side; they stay the module's parameters.
        stop_ids: tokens that end an answer.
        slots: sequences in flight at once.
        page_size: tokens a page of the cache; default 64 on a CUDA device, else 16.
        cache_tokens: tokens the cache may hold; default what the sequences need, or the device has.
        graphs: replay steps as CUDA graphs; default wherever that is possible.
    """

    def __init__(
        self,
        model: Qwen3,
        stop_ids: Sequence[int],
        slots: int = 128,
        *,
        page_size: int | None = None,
        cache_tokens: int | None = None,
        graphs: bool | None = None,
    ) -> None:
        cuda = model.device.type == "cuda"
        self.model = model
        self.stop_ids = torch.tensor(list(stop_ids), dtype=torch.int64, device=model.device)
        self.slots, self.cache_tokens = slots, cache_tokens
        self.page_size = page_size or (64 if cuda else 16)
        shape = model.shape
        captured = kernel_fits(
            model.device, shape.num_key_value_heads, shape.head_dim, self.page_size, shape.block_size or 1
        )
        self.graphs = captured if graphs is None else graphs

    def generate(
        self, requests: Sequence[Request], decoding: DecodingSettings, strategy: RemaskingStrategy | None = None
    ) -> list[Rollout]:
        """Answer every request; the result is in the order of the requests.

        Args:
            requests: what to answer.
            decoding: strategy, temperature and filters.
            strategy: takes the place of the one that `decoding` names.

        Raises:
            SettingsError: the strategy does not fit the model, or the cache is too small for one request.
            DataError: a prompt is empty, holds the mask token, or is too long for the model.
        """
        answers = dict(self.stream(requests, decoding, strategy))
        return [answers[index] for index in range(len(requests))]

    def stream(
        self,
        requests: Sequence[Request],
        decoding: DecodingSettings,
        strategy: RemaskingStrategy | None = None,
        watch: Callable[[Slots], None] | None = None,
    ) -> Iterator[tuple[int, Rollout]]:
        """Yield (index of the request, answer) as answers are finished.

        When the device runs out of memory, half as many sequences go on where they were.

        Args:
            requests: what to answer.
            decoding: strategy, temperature and filters.
            strategy: takes the place of the one that `decoding` names.
            watch: shown the sequences in flight after every step.

        Raises:
            SettingsError, DataError: as `generate`.
        """
        self.check(requests, decoding)
        block_size, shift = self._geometry(decoding)
        plan = Plan(
            decoding=decoding,
            strategy=strategy or make_strategy(decoding),
            block_size=block_size,
            shift=shift,
            slots=min(self.slots, len(requests)),
            page_size=self.page_size,
            cache_tokens=self.cache_tokens,
            graphs=self.graphs,
        )
        return self._answers(requests, plan, watch)

    def check(self, requests: Sequence[Request], decoding: DecodingSettings) -> None:
        """Raise what `generate` would raise for these requests, except that the cache is too small."""
        self._geometry(decoding)
        limit, mask = self.model.shape.max_position_embeddings, self.model.shape.mask_token_id
        for index, request in enumerate(requests):
            if not request.prompt:
                raise DataError(f"request {index}: the prompt is empty")
            if request.max_tokens < 1:
                raise DataError(f"request {index}: max_tokens is {request.max_tokens}; it must be at least 1")
            if not 0 <= min(request.prompt) <= max(request.prompt) < self.model.shape.vocab_size:
                raise DataError(
                    f"request {index}: the prompt holds a token outside the model's vocabulary "
                    f"(0 to {self.model.shape.vocab_size - 1})"
                )
            if mask in request.prompt:
                raise DataError(f"request {index}: the prompt holds the mask token ({mask})")
            if len(request.prompt) + request.max_tokens > limit:
                raise DataError(
                    f"request {index}: {len(request.prompt)} prompt tokens and {request.max_tokens} new ones exceed "
                    f"the model's {limit} positions"
                )

    @torch.inference_mode()
    def _answers(
        self, requests: Sequence[Request], plan: Plan, watch: Callable[[Slots], None] | None
    ) -> Iterator[tuple[int, Rollout]]:
        waiting, forward = waiting_line(requests), self.model.inference()
        while waiting:
            flight = Flight(self.model, forward, self.stop_ids, plan, waiting, watch)
            try:
                yield from flight.run()
            except torch.OutOfMemoryError:
                if plan.slots == 1:
                    raise
                flight.land()
                fewer = plan.slots // 2
                log.warning("out of memory with %d sequences in flight; going on with %d", plan.slots, fewer)
                plan = replace(plan, slots=fewer)
            finally:
                del flight
                if self.model.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _geometry(self, decoding: DecodingSettings) -> tuple[int, int]:
        """Block size, and by how much logits are shifted."""
        if decoding.strategy == "autoregressive":
            if self.model.shape.is_diffusion:
                raise SettingsError("strategy 'autoregressive' needs an autoregressive model; this one has blocks")
            return 1, 1
        if self.model.shape.block_size is None or self.model.shape.mask_token_id is None:
            raise SettingsError(f"strategy '{decoding.strategy}' needs a block-diffusion model: convert it first")
        return self.model.shape.block_size, 0
