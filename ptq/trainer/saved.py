"""A trained state made files that runtimes execute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import paddle
from paddle import nn

from quantizers.errors import ConfigError

from ..imperative import ImperativePTQ
from ..training import convert
from ..util.modes import eval_mode
from .answer import answering, set_answer
from .build import Setup
from .datasets import Drawn
from .prepared import prepared_model

__all__ = ["export"]


def export(
    setup: Setup,
    model_path: str,
    save_dir: str,
    *,
    with_softmax: bool = False,
    without_argmax: bool = False,
    formats: Sequence[str] = ("jit",),
    float_baseline: bool = False,
) -> nn.Layer:
    """Converts a trained state and saves it as ``save_dir/model.*``, checked in the runtimes.

    Args:
        setup: what it was trained with.
        model_path: file or folder of the state.
        save_dir: folder to write to.
        with_softmax: the answer is probabilities.
        without_argmax: the answer is logits; with neither it is classes, int32.
        formats: as in `ImperativePTQ.save_quantized_model`.
        float_baseline: also save the float net with the trained weights, to compare speed with.

    Returns:
        The quantized model that was saved.

    Raises:
        ConfigError: both answers are asked for.
        ArtifactError: the state cannot be read, or the files cannot be written.
    """
    if with_softmax and without_argmax:
        raise ConfigError("with_softmax gives probabilities and without_argmax logits: choose one")
    prepared = prepared_model(setup, answering(setup.model()), trained=model_path)
    with paddle.no_grad(), eval_mode(prepared):
        prepared(_pictures(setup))  # what is saved is compared with on these
    model = convert(prepared)
    set_answer(model, "softmax" if with_softmax else "logits" if without_argmax else "argmax")
    prefix = Path(save_dir, "model")
    prefix.parent.mkdir(parents=True, exist_ok=True)
    engine = ImperativePTQ()
    return engine.save_quantized_model(model, str(prefix), setup.input_spec(), formats=formats, float_baseline=float_baseline)


def _pictures(setup: Setup, count: int = 2) -> paddle.Tensor:
    """The first pictures of the validation set."""
    drawn = Drawn(setup.val_dataset, 0)
    items = [drawn[(index, 0)][0] for index in range(min(count, len(drawn)))]
    same = [item for item in items if np.shape(item) == np.shape(items[0])]
    return paddle.to_tensor(np.stack(same))
