"""The keys and values of many texts of different lengths, in slots."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Cache, PretrainedConfig
from transformers.cache_utils import CacheLayerMixin

from potassium.errors import UsageError

__all__ = ["KeyValues", "Window"]

FULL, SLIDING = "full_attention", "sliding_attention"


class Window:
    """Which slots the model runs on, and where the tokens belong that it is given.

    Attributes:
        first: the first slot.
        positions: of each token in its slot, on the device; int64 of shape (slots, tokens). Those
            of padding lie behind the slot's last place.
        end: the last position in it, plus one.

    """

    __slots__ = ("end", "first", "positions", "slots")

    def __init__(self, first: int, positions: torch.Tensor, end: int) -> None:
        self.first = first
        self.positions = positions
        self.end = end
        self.slots = torch.arange(first, first + len(positions), device=positions.device)

    def mask(self, dtype: torch.dtype, reach: int | None) -> torch.Tensor:
        """Return what each token does not see, to be added to its attention.

        Args:
            dtype: of the result, whose shape is (slots, 1, tokens, ``end``).
            reach: how many tokens each sees at most, itself included; None for all before it.

        """
        place = torch.arange(self.end, device=self.positions.device)
        here = self.positions[:, None, :, None]
        hidden = place > here
        if reach is not None:
            hidden |= place <= here - reach
        none = torch.zeros((), dtype=dtype, device=hidden.device)
        return none.masked_fill(hidden, torch.finfo(dtype).min)


class Layer(CacheLayerMixin):  # type: ignore[misc] # transformers has no types
    """The keys and values of one layer, of shape (slots, heads, length + 1, size of a head).

    What is behind ``length`` takes the padding. The memory is reserved when the first text comes,
    as only then its shape is known.
    """

    def __init__(self, slots: int, length: int) -> None:
        super().__init__()
        self.window: Window | None = None
        self._slots = slots
        self._length = length

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Reserve the memory. It must be zeros: what is not seen counts nothing times that."""
        self.keys, self.values = (
            states.new_zeros(self._slots, states.shape[1], self._length + 1, states.shape[3])
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_options: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep those of the new tokens; return all up to the end of the window."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        window = self.window
        assert window is not None  # noqa: S101 - KeyValues.look_at comes first
        assert self.keys is not None and self.values is not None  # noqa: S101, PT018 - as above
        slots = slice(window.first, window.first + len(window.positions))
        where, positions = (
            places.to(key_states.device) for places in (window.slots[:, None], window.positions)
        )
        for kept, states in ((self.keys, key_states), (self.values, value_states)):
            kept[where, :, positions] = states.transpose(1, 2)
        return self.keys[slots, :, : window.end], self.values[slots, :, : window.end]

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy the first ``count`` tokens of a slot to another one."""
        for kept in (self.keys, self.values):
            assert kept is not None  # noqa: S101 - something was kept
            kept[target, :, :count] = kept[source, :, :count]

    def clear(self, slot: int) -> None:
        """Let a slot have zeros again."""
        for kept in (self.keys, self.values):
            assert kept is not None  # noqa: S101 - as above
            kept[slot].zero_()

    def swap(self, one: int, other: int, count: int) -> None:
        """Exchange the first ``count`` tokens of two slots."""
        for kept in (self.keys, self.values):
            assert kept is not None  # noqa: S101 - as above
            held = kept[one, :, :count].clone()
            kept[one, :, :count] = kept[other, :, :count]
            kept[other, :, :count] = held

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return the length and offset of the mask, which nobody makes from it."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Return the length that the model sees."""
        return 0 if self.window is None else self.window.end

    def get_max_length(self) -> int:
        """Return how long a text can be."""
        return self._length


class KeyValues(Cache):  # type: ignore[misc] # as above
    """The keys and values of as many texts as there are slots.

    Args:
        config: that of the model.
        slots: how many.
        length: how many tokens each text has at most.

    Raises:
        UsageError: the model has layers that keep something else, an attention that takes no mask,
            or positions that depend on the longest text.

    """

    def __init__(self, config: PretrainedConfig, slots: int, length: int) -> None:
        config = config.get_text_config(decoder=True)
        attention = config._attn_implementation  # noqa: SLF001 - it has no public name
        if attention not in ("sdpa", "eager"):
            raise UsageError(
                f'Decoder: load the model with attn_implementation="sdpa", not {attention!r}.'
            )
        sliding = getattr(config, "sliding_window", None)
        uniform = FULL if sliding is None else SLIDING
        kinds = getattr(config, "layer_types", None) or [uniform] * config.num_hidden_layers
        if others := set(kinds) - {FULL, SLIDING}:
            raise UsageError(
                f"Decoder: {config.model_type} has layers of {', '.join(sorted(others))}, which do "
                "not keep keys and values of each token."
            )
        _check_positions(config, length)
        self.length = length
        self._reach = {kind: sliding if kind == SLIDING else None for kind in kinds}
        self._rows = [Layer(slots, length) for _ in kinds]
        super().__init__(layers=list(self._rows))

    def look_at(self, window: Window, dtype: torch.dtype) -> Any:
        """Let the model's next run be on the slots of ``window``; return its attention masks."""
        for layer in self._rows:
            layer.window = window
        masks = {kind: window.mask(dtype, reach) for kind, reach in self._reach.items()}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def copy(self, source: int, target: int, count: int) -> None:
        """Copy the first ``count`` tokens of a slot to another one."""
        for layer in self._rows:
            layer.copy(source, target, count)

    def clear(self, slot: int) -> None:
        """Let a slot have zeros again."""
        for layer in self._rows:
            layer.clear(slot)

    def swap(self, one: int, other: int, count: int) -> None:
        """Exchange the first ``count`` tokens of two slots."""
        for layer in self._rows:
            layer.swap(one, other, count)

    def positions(self, starts: Sequence[int], counts: Sequence[int]) -> torch.Tensor:
        """Return the positions of ``counts`` tokens from ``starts`` on, padded on the left."""
        width = max(counts)
        behind = self.length
        return torch.tensor(
            [
                [behind] * (width - count) + list(range(start, start + count))
                for start, count in zip(starts, counts, strict=True)
            ]
        )


def _check_positions(config: PretrainedConfig, length: int) -> None:
    """Check that what a token's position means does not depend on how long other texts are.

    Raises:
        UsageError: beyond the length that the model was first trained for, it does.

    """
    given = getattr(config, "rope_parameters", None) or {}
    for parameters in (given, *(one for one in given.values() if isinstance(one, dict))):
        kind = parameters.get("rope_type")
        limit = parameters.get("original_max_position_embeddings")
        limit = limit or getattr(config, "original_max_position_embeddings", None)
        limit = limit or config.max_position_embeddings
        if kind in ("longrope", "dynamic") and length > limit:
            raise UsageError(
                f"Decoder(length={length}): with the positions of this model ({kind}), texts would "
                f"depend on one another beyond length={limit}."
            )
