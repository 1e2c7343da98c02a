"""How the model is called when it is saved: the spec, the arguments of the check, and what the model in memory answers to them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.static import InputSpec

from quantizers.errors import ConfigError, ExportError, ModelError

from ..calibration.hooks import is_calibrating, observation_of
from ..calibration.observation import Observation, restore
from ..util.messages import last_line
from .check import largest_difference

__all__ = ["answer_of", "call_of", "output_positions", "tensors_of"]


def tensors_of(nest: Any) -> list[paddle.Tensor]:
    """The tensors in tuples, lists and dicts, in order."""
    return [item for item in paddle.utils.flatten(nest) if isinstance(item, paddle.Tensor)]


def answer_of(model: nn.Layer, arguments: Sequence[Any]) -> list[paddle.Tensor]:
    """The model's outputs; one tensor that is returned twice counts once, as in a saved program.

    Raises:
        ExportError: the model fails on the arguments.
    """
    try:
        return _distinct_tensors(model(*arguments))
    except Exception as error:  # the user's code: anything may come out of it
        shapes = [list(item.shape) for item in paddle.utils.flatten(list(arguments)) if isinstance(item, paddle.Tensor)]
        raise ExportError(
            f"{type(model).__name__} fails on inputs of shapes {shapes} ({type(error).__name__}: {last_line(error)}); check input_spec"
        ) from error


def call_of(model: nn.Layer, input_spec: Sequence[Any] | None) -> tuple[list[Any], list[Any]]:
    """The spec to save with, and arguments for the check: the first calibration batch where it fits the spec.

    Raises:
        ModelError: the model is none, or is still being calibrated: what would be written is the float model.
        ConfigError: ``input_spec`` is missing, or no list.
    """
    if not isinstance(model, nn.Layer):
        raise ModelError(f"the model must be a paddle.nn.Layer, got {model!r}")
    if is_calibrating(model):
        raise ModelError(f"{type(model).__name__} is still being calibrated: pass what ImperativePTQ.convert returns")
    if input_spec is not None and not isinstance(input_spec, (list, tuple)):
        raise ConfigError(f"input_spec must be a list of InputSpecs or tensors, got {input_spec!r}")
    observation = observation_of(model)
    calibrated = _calibrated_call(model, observation) if observation is not None else None
    if input_spec is None:
        if calibrated is None:
            raise ConfigError("input_spec is needed: the model saw no calibration batch that would tell its input shapes")
        return calibrated
    if any(isinstance(item, paddle.Tensor) for item in input_spec):
        specs = [InputSpec(item.shape, item.dtype) if isinstance(item, paddle.Tensor) else item for item in input_spec]
        return specs, [_example(item) if isinstance(item, InputSpec) else item for item in input_spec]
    specs = list(input_spec)
    if calibrated is not None and _fits(specs, calibrated[1]):
        return specs, calibrated[1]
    return specs, _examples(specs)


def _calibrated_call(model: nn.Layer, observation: Observation) -> tuple[list[Any], list[Any]] | None:
    if observation.input_spec is None:
        return None
    specs = _positional(model, *observation.input_spec)
    if observation.first_batch is None:  # the statistics came from a file, which tells shapes but holds no data
        return specs, _examples(specs)
    arrays = _positional(model, *observation.first_batch)
    return specs, [restore(array, spec) for array, spec in zip(arrays, specs, strict=True)]


def _positional(model: nn.Layer, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Any]:
    """The arguments in the order of ``forward``'s parameters, trailing ones that were left out dropped."""
    if not kwargs:
        return list(args)
    bound = inspect.signature(model.forward).bind(*args, **kwargs)
    last = list(bound.arguments)[-1]
    bound.apply_defaults()
    names = list(bound.arguments)
    if bound.kwargs:
        raise ConfigError(
            f"the model takes keyword-only arguments ({', '.join(bound.kwargs)}), which a saved program cannot; pass input_spec"
        )
    return [bound.arguments[name] for name in names[: names.index(last) + 1]]


def _fits(specs: Sequence[Any], arguments: Sequence[Any]) -> bool:
    flat_specs, flat_arguments = paddle.utils.flatten(list(specs)), paddle.utils.flatten(list(arguments))
    return len(flat_specs) == len(flat_arguments) and all(
        not isinstance(spec, InputSpec)
        or (
            isinstance(tensor, paddle.Tensor)
            and len(spec.shape) == tensor.ndim
            and all(a in (-1, None, b) for a, b in zip(spec.shape, tensor.shape, strict=True))
            and tensor.dtype == spec.dtype
        )
        for spec, tensor in zip(flat_specs, flat_arguments, strict=True)
    )


def _examples(nest: Any) -> Any:
    """`_example` of every spec in tuples, lists and dicts."""
    if isinstance(nest, dict):
        return {key: _examples(item) for key, item in nest.items()}
    if type(nest) in (list, tuple):
        return type(nest)(map(_examples, nest))
    return _example(nest)


def _example(spec: Any) -> Any:
    """A tensor for a spec, free dimensions 2, always the same values."""
    if not isinstance(spec, InputSpec):
        return spec
    shape = [2 if size in (None, -1) else size for size in spec.shape]
    values = np.random.default_rng(0).standard_normal(shape)
    return paddle.to_tensor(values).astype(spec.dtype) if "int" not in str(spec.dtype) else paddle.zeros(shape, spec.dtype)


def _distinct_tensors(outputs: Any) -> list[paddle.Tensor]:
    """The tensors of an output, in order; one that is returned twice counts once, as in a saved program."""
    found: dict[int, paddle.Tensor] = {}
    for item in paddle.utils.flatten(outputs):
        if isinstance(item, paddle.Tensor):
            found.setdefault(id(item), item)
    return list(found.values())


def output_positions(output_spec: Sequence[Any] | None, outputs: Sequence[paddle.Tensor]) -> list[int] | None:
    """Positions of the outputs to keep; ``None`` keeps all."""
    if output_spec is None:
        return None
    if not isinstance(output_spec, (list, tuple)):
        raise ConfigError(f"output_spec must be a list of positions or output tensors, got {output_spec!r}")
    positions = [_output_position(item, outputs) for item in output_spec]
    if positions == list(range(len(outputs))):
        return None
    if len(set(positions)) != len(positions) or not 0 < len(positions) < len(outputs):
        raise ConfigError("output_spec must name at least one output, each at most once, and all of them only in their own order")
    return positions


def _output_position(item: Any, outputs: Sequence[paddle.Tensor]) -> int:
    """Position of one output, given by its number or as what the model answers to the first calibration batch."""
    if isinstance(item, paddle.Tensor):
        found = [i for i, output in enumerate(outputs) if output.shape == item.shape and largest_difference(item, output) < 1e-3]
    else:
        is_number = isinstance(item, (int, np.integer)) and not isinstance(item, bool)
        found = [int(item)] if is_number and 0 <= item < len(outputs) else []
    if len(found) != 1:
        shown = f"a tensor of shape {list(item.shape)}" if isinstance(item, paddle.Tensor) else repr(item)
        raise ConfigError(f"output_spec: {shown} is not one of the model's {len(outputs)} outputs; pass positions, 0 to {len(outputs) - 1}")
    return found[0]
