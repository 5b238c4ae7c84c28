"""The rollout engine: block-diffusion decoding of many requests at once, with a key/value cache.

Each sequence in flight has its current block at `start`. A step forwards, for every sequence, the tokens whose clean
keys and values are not yet cached (the block just finished, if any) together with the current block, draws a token for
every masked position, and reveals those that the strategy accepts. A finished block is therefore committed by the
forward that starts the next one. Autoregressive decoding is the same loop with blocks of one token and logits shifted
by one: the query is the token before the position to fill.
"""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from opdlm.blocks import covered
from opdlm.config.decoding import DecodingSettings
from opdlm.decode.cache import Cache, CachedAttention
from opdlm.decode.request import Request, Rollout
from opdlm.decode.sampling import draw, uniform
from opdlm.decode.slots import Slots
from opdlm.decode.strategy import make_strategy
from opdlm.errors import DataError, SettingsError
from opdlm.model.qwen3 import Qwen3


class Engine:
    """Decodes requests with a model.

    Args:
        model: the weights; the trainer's own module may be passed, nothing is copied.
        stop_ids: tokens that end an answer.
        slots: sequences in flight at once.
    """

    def __init__(self, model: Qwen3, stop_ids: list[int], slots: int = 128) -> None:
        self.model = model
        self.stop_ids = torch.tensor(stop_ids, device=model.device)
        self.slots = slots

    def generate(self, requests: Sequence[Request], decoding: DecodingSettings) -> list[Rollout]:
        """Answer every request; the result is in the order of the requests.

        Args:
            requests: what to answer.
            decoding: strategy, temperature and filters.

        Raises:
            SettingsError: the strategy does not fit the model.
            DataError: a prompt is empty, holds the mask token, or is too long for the model.
        """
        answers = dict(self.stream(requests, decoding))
        return [answers[index] for index in range(len(requests))]

    @torch.inference_mode()
    def stream(
        self,
        requests: Sequence[Request],
        decoding: DecodingSettings,
        watch: Callable[[Slots], None] | None = None,
    ) -> Iterator[tuple[int, Rollout]]:
        """Yield (index of the request, answer) as answers are finished.

        Args:
            requests: what to answer.
            decoding: strategy, temperature and filters.
            watch: shown the sequences in flight after every step.

        Raises:
            SettingsError, DataError: as `generate`.
        """
        block_size, shift = self._geometry(decoding)
        self._check(requests)
        if not requests:
            return
        capacity = max(covered(len(r.prompt) + r.max_tokens, block_size) for r in requests)
        slots = Slots(min(self.slots, len(requests)), capacity, block_size, self._filler(), self.model.device)
        cache = Cache(self.model.shape, slots.count, capacity, like=self.model.lm_head.weight)
        waiting = list(enumerate(requests))[::-1]
        while waiting or slots.occupied:
            admitted = [slots.admit(*waiting.pop()) for _ in range(min(len(waiting), len(slots.free)))]
            if admitted:
                self._prefill(slots, cache, torch.tensor(admitted, device=self.model.device), shift)
            self._step(slots, cache, decoding, shift)
            if watch is not None:
                watch(slots)
            yield from slots.collect(self.stop_ids)

    def _step(self, slots: Slots, cache: Cache, decoding: DecodingSettings, shift: int) -> None:
        """One forward over all sequences in flight, and the tokens it reveals."""
        active = slots.active()
        start = slots.start[active]
        hidden = self._forward(slots, cache, active, start + slots.block_size - shift)
        slots.cached[active] = start
        block = start[:, None] + torch.arange(slots.block_size, device=start.device)
        masked = slots.masked(active, block)
        rows = hidden.view(len(active), slots.block_size, -1)[masked]
        step = slots.step[active] + 1
        uniforms = uniform(slots.seed[active][:, None], block, step[:, None])[masked]
        drawn, certainty = draw(self.model.logits(rows), decoding, uniforms, self.model.shape.mask_token_id)
        tokens = torch.zeros_like(block).masked_scatter(masked, drawn)
        confidence = torch.zeros(block.shape, device=block.device).masked_scatter(masked, certainty)
        accepted = make_strategy(decoding).accept(confidence, masked)
        slots.reveal(active, block, tokens, accepted, step)

    def _prefill(self, slots: Slots, cache: Cache, new: Tensor, shift: int) -> None:
        """Cache the whole blocks of new prompts; an autoregressive prompt keeps its last token for the first step."""
        end = slots.start[new] - shift
        new, end = new[end > 0], end[end > 0]
        if len(new):
            self._forward(slots, cache, new, end)
            slots.cached[new] = end

    def _forward(self, slots: Slots, cache: Cache, rows: Tensor, end: Tensor) -> Tensor:
        """Hidden states of the last `block_size` tokens before `end` of each sequence, `[sequences * block, hidden]`.

        The tokens forwarded are those from `cached` to `end`.
        """
        attend = CachedAttention(cache, rows, slots.cached[rows], end, slots.block_size)
        hidden = self.model(slots.tokens[attend.token_slots, attend.positions], attend.positions, attend)
        wanted = attend.positions >= (end - slots.block_size).repeat_interleave(end - slots.cached[rows])
        return hidden[wanted]

    def _geometry(self, decoding: DecodingSettings) -> tuple[int, int]:
        """Block size, and by how much logits are shifted."""
        if decoding.strategy == "autoregressive":
            if self.model.shape.is_diffusion:
                raise SettingsError("strategy 'autoregressive' needs an autoregressive model; this one has blocks")
            return 1, 1
        if self.model.shape.block_size is None or self.model.shape.mask_token_id is None:
            raise SettingsError(f"strategy '{decoding.strategy}' needs a block-diffusion model: convert it first")
        return self.model.shape.block_size, 0

    def _filler(self) -> int:
        """What stands at positions that hold no token yet."""
        mask = self.model.shape.mask_token_id
        return mask if mask is not None else -1

    def _check(self, requests: Sequence[Request]) -> None:
        limit, mask = self.model.shape.max_position_embeddings, self.model.shape.mask_token_id
        for index, request in enumerate(requests):
            if not request.prompt:
                raise DataError(f"request {index}: the prompt is empty")
            if request.max_tokens < 1:
                raise DataError(f"request {index}: max_tokens is {request.max_tokens}; it must be at least 1")
            if mask in request.prompt:
                raise DataError(f"request {index}: the prompt holds the mask token ({mask})")
            if len(request.prompt) + request.max_tokens > limit:
                raise DataError(
                    f"request {index}: {len(request.prompt)} prompt tokens and {request.max_tokens} new ones exceed "
                    f"the model's {limit} positions"
                )
