"""What the beginning of a model answers, kept: layers that will not change any more need not be computed again and again.

A sequential recovery runs the same samples for every layer, and each time all layers before it.  A tape holds the results of the twins in
the order of their calls, and plays them back in place of the calls; what lies between (additions, activations) is computed as always.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import paddle
from paddle import nn

__all__ = ["Tapes"]


class Tapes:
    """One tape for each key, such as the number of a batch, and ``limit`` bytes in all; what does not fit is computed.

    All that is called before the first layer that may still change must give the same as when it was recorded.
    """

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._tapes: dict[Hashable, list[paddle.Tensor]] = {}

    @contextmanager
    def playing(self, key: Hashable, layers: Mapping[str, nn.Layer], changing: Collection[str]) -> Iterator[None]:
        """While entered, a forward plays what is on the key's tape, and records what comes behind it up to the first changing layer.

        Args:
            key: of the tape.
            layers: all that may be recorded, by name; their ``forward`` is led through the tape and put back.
            changing: names of layers that are not final yet.
        """
        run = _Run(self, self._tapes.setdefault(key, []), frozenset(changing))
        try:
            for name, layer in layers.items():
                vars(layer)["forward"] = run.forward(name, layer)
            yield
        finally:
            for layer in layers.values():
                vars(layer).pop("forward", None)

    def take(self, size: int) -> bool:
        """Whether so many bytes may be kept; they are then."""
        if size > self._left:
            return False
        self._left -= size
        return True


class _Run:
    """One forward: where the tape is, and whether more is recorded."""

    def __init__(self, tapes: Tapes, tape: list[paddle.Tensor], changing: frozenset[str]) -> None:
        self.tapes, self.tape, self.changing = tapes, tape, changing
        self.position, self.records = 0, True

    def forward(self, name: str, layer: nn.Layer) -> Any:
        """What takes the place of a layer's ``forward``."""
        original = layer.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            if name in self.changing:
                self.records = False
            if self.records and self.position < len(self.tape):
                self.position += 1
                return self.tape[self.position - 1]
            answer = original(*args, **kwargs)
            if self.records:
                self.records = isinstance(answer, paddle.Tensor) and self.tapes.take(answer.size * answer.element_size())
                if self.records:
                    self.tape.append(answer.detach())
                    self.position += 1
            return answer

        return forward
