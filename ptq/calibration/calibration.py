"""`Calibration`: what calibration found, apart from the model, to be saved, merged, compared and put into a model again."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from paddle import nn

from quantizers import StatisticsQuantizer, TensorStatistics
from quantizers.errors import CalibrationError, ConfigError, ModelError, NoCalibrationDataError

from .call_spec import Node, decode_call, encode, merge_nodes
from .diff import TensorShift, format_shifts, shifts
from .file import SIDES, Contents, LayerStatistics, read_contents, write_contents
from .hooks import BatchHook, batch_hook_of
from .seen import Seen
from .state import LayerState, state_of

__all__ = ["Calibration", "check_calibrating", "collect", "install"]


class Calibration:
    """The statistics of every observed tensor of a model, and the shapes of the model's inputs.

    It does not depend on how the data was cut into batches, nor on the order of batches or shards, except where a quantizer keeps a
    moving average.

    Attributes:
        layers: `LayerStatistics` by the layer's name in the model.
        input_spec: how the model was called (see `ptq.calibration.call_spec`), ``None`` when unknown.
        left_out: places whose quantizers keep no `TensorStatistics` of their own; such a calibration cannot be saved, merged or applied.
    """

    def __init__(self, layers: dict[str, LayerStatistics], input_spec: Node | None = None, left_out: tuple[str, ...] = ()) -> None:
        self.layers = layers
        self.input_spec = input_spec
        self.left_out = left_out

    @classmethod
    def of(cls, model: nn.Layer) -> Calibration:
        """A copy of what a model from `ImperativePTQ.quantize` has seen so far.

        Raises:
            ModelError: the model is not under calibration.
            NoCalibrationDataError: no data reached any layer.
            NonFiniteError: a tensor held NaN or Inf.
        """
        contents, left_out = collect(model)
        if not contents.layers and not left_out:
            raise NoCalibrationDataError(f"{type(model).__name__} has seen no calibration data; run a few batches through it first")
        return cls({name: _copy(layer) for name, layer in contents.layers.items()}, contents.input_spec, left_out)

    def apply(self, model: nn.Layer) -> None:
        """Puts the statistics into a model from `ImperativePTQ.quantize`, so that `convert` needs no data.

        What the model had seen before is replaced.  A model that waits for its first batch (automatic fusing) is prepared with the
        shapes stored here.  The model must have been prepared with the same settings for fusing; its quantizers may differ.

        Raises:
            ModelError: the model is not under calibration.
            CalibrationError: names or classes of layers do not match, or a quantizer needs what these statistics lack.  No statistics
                of the model are changed then.
        """
        self.put_into(model, same_settings=False)
        check_calibrating(model)[0].forget_samples()

    def put_into(self, model: nn.Layer, same_settings: bool) -> None:
        """As `apply`, keeping the samples of data that the model has; ``same_settings`` refuses quantizers of other settings."""
        self.check_complete("applied")
        seen, hook = check_calibrating(model)
        _prepare(model, seen, hook, self.input_spec)
        install(model, self.layers, same_settings)
        if self.input_spec is not None and not _has_object(self.input_spec):
            seen.input_spec = decode_call(self.input_spec)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a file; an older one is replaced in one step.

        Raises:
            ArtifactError: it cannot be written.
            CalibrationError: a quantizer keeps no statistics of the kind that a file holds.
        """
        self.check_complete("saved")
        write_contents(path, Contents(self.layers, self.input_spec))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Reads a file that `save` wrote.

        Raises:
            ArtifactError: there is none, it is another kind of file, or of a newer version.
            CorruptArtifactError: it is damaged.
            CalibrationError: it is the state of a calibration that did not finish.
        """
        contents = read_contents(path)
        if contents.progress is not None:
            raise CalibrationError(
                f"{os.fspath(path)} holds a calibration that was interrupted after {len(contents.progress.batches)} batches; "
                "finish it with ptq.calibrate(model, loader, resume=...)"
            )
        return cls(contents.layers, contents.input_spec)

    @classmethod
    def merge(cls, parts: Iterable[Calibration]) -> Calibration:
        """One calibration of several shards: what a single pass over all of their data gives, whatever their order.

        Raises:
            ConfigError: there are no parts, or their settings (bins, samples per item) differ.
            CalibrationError: layers differ, or a part keeps moving averages, which depend on the order of batches.
        """
        found = list(parts) if isinstance(parts, Iterable) else []
        if not found or not all(isinstance(part, Calibration) for part in found):
            raise ConfigError(f"merge needs at least one Calibration and nothing else, got {found or parts!r:.200}")
        layers: dict[str, LayerStatistics] = {}
        spec: Node | None = None
        for part in found:
            part.check_complete("merged")
            spec = merge_nodes(spec, part.input_spec)
            for name, layer in part.layers.items():
                if name in layers:
                    _merge_layer(name, layers[name], layer)
                else:
                    layers[name] = _copy(layer)
        return cls(layers, spec)

    def diff(self, other: Calibration) -> list[TensorShift]:
        """One row per tensor: its range here and in ``other``, and how far its distribution moved; the largest move first.

        Raises ``ConfigError`` when ``other`` is no `Calibration`.
        """
        if not isinstance(other, Calibration):
            raise ConfigError(f"diff needs another Calibration, got {other!r:.200}")
        return shifts(self.layers, other.layers)

    @staticmethod
    def format_diff(rows: list[TensorShift], limit: int | None = 20) -> str:
        """A table for people of the first ``limit`` rows of `diff`."""
        return format_shifts(rows, limit)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return (self.layers, self.input_spec, self.left_out) == (other.layers, other.input_spec, other.left_out)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        tensors = sum(len(tensors) for layer in self.layers.values() for tensors in layer.sides().values())
        return f"Calibration({len(self.layers)} layers, {tensors} tensors)"

    def check_complete(self, verb: str) -> None:
        """Raises ``CalibrationError`` when places are left out."""
        if self.left_out:
            raise CalibrationError(
                f"this calibration cannot be {verb}: the quantizers of {', '.join(self.left_out[:5])} keep no TensorStatistics; "
                "derive them from quantizers.StatisticsQuantizer, or convert the calibrated model itself"
            )


def check_calibrating(model: Any) -> tuple[Seen, BatchHook]:
    """What a model under calibration has seen, and its batch hook; raises ``ModelError`` for any other."""
    hook = batch_hook_of(model) if isinstance(model, nn.Layer) else None
    if hook is None:
        raise ModelError("a model prepared with ImperativePTQ.quantize and not converted yet is needed")
    return hook.state.seen, hook


def collect(model: nn.Layer) -> tuple[Contents, tuple[str, ...]]:
    """What the model has seen (its own statistics, not copies), and the places whose quantizers keep none of that kind.

    Raises as `Calibration.of`, but for a model without data.
    """
    seen, _ = check_calibrating(model)
    layers: dict[str, LayerStatistics] = {}
    left_out = []
    for name, (layer, own) in _configured(model).items():
        entry = LayerStatistics(type(layer).__name__)
        for side, quantizer in own.samplers().items():
            if isinstance(quantizer, StatisticsQuantizer):
                for statistics in quantizer.statistics:
                    statistics.check_usable(f"layer '{name}' {side}")
                setattr(entry, side, quantizer.statistics)
            elif quantizer.sampled:
                left_out.append(f"layer '{name}' {side} ({type(quantizer).__name__})")
        entry.channels = own.channels
        if any(entry.sides().values()):
            layers[name] = entry
    spec = None if seen.input_spec is None else encode(seen.input_spec)
    return Contents(layers, spec), tuple(left_out)


def _configured(model: nn.Layer) -> dict[str, tuple[nn.Layer, LayerState]]:
    """The layers under calibration by name, with their states."""
    state = state_of(model)
    states = {} if state is None else state.layers
    return {name: (layer, states[name]) for name, layer in model.named_sublayers(include_self=True) if name in states}


def _prepare(model: nn.Layer, seen: Seen, hook: BatchHook, spec: Node | None) -> None:
    """Does what waits for the model's first batch, with stored shapes instead."""
    if hook.prepare is None:
        return
    if spec is None:
        raise CalibrationError("this calibration does not know the shapes of the model's inputs; pass input_spec to quantize")
    before, seen.input_spec = seen.input_spec, decode_call(spec)
    try:
        hook.prepare_model(model)
    except BaseException:
        seen.input_spec = before
        raise


def install(model: nn.Layer, layers: dict[str, LayerStatistics], same_settings: bool = False) -> None:
    """Replaces what the model has seen by copies of ``layers``; ``same_settings`` refuses those made with other settings.

    Raises ``CalibrationError`` that lists what does not match, before anything is changed.
    """
    present = {name: found for name, found in _configured(model).items() if found[1].samplers()}
    problems = [problem for name, entry in layers.items() for problem in _problems(name, entry, present.get(name), same_settings)]
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise CalibrationError(
            f"the calibration does not fit this model: {'; '.join(problems[:5])}{more}; "
            "prepare the same model with the same config and fuse setting"
        )
    for name, (_, own) in present.items():
        entry = layers.get(name, LayerStatistics(""))
        for side, quantizer in own.samplers().items():
            if isinstance(quantizer, StatisticsQuantizer):
                quantizer.adopt(entry.sides()[side])
                quantizer.sampled = bool(entry.sides()[side])
        own.channels = None if entry.channels is None or not own.scheme.per_channel_input else entry.channels.copy()


def _problems(name: str, entry: LayerStatistics, found: tuple[nn.Layer, LayerState] | None, same_settings: bool) -> Iterable[str]:
    where = f"layer '{name}'"
    if found is None or type(found[0]).__name__ != entry.class_name:
        what = "not observed" if found is None else f"a {type(found[0]).__name__}"
        yield f"{where} is a {entry.class_name} in the calibration, {what} in the model"
        return
    quantizers = found[1].samplers()
    for side, tensors in entry.sides().items():
        quantizer = quantizers.get(side)
        if not tensors:
            continue
        if not isinstance(quantizer, StatisticsQuantizer):
            yield f"{where} {side} is " + ("not observed" if quantizer is None else f"a {type(quantizer).__name__}'s") + " in the model"
        elif same_settings and not all(_same_settings(statistics, quantizer) for statistics in tensors):
            yield f"{where} {side} was calibrated with other settings than those of {quantizer!r}"
        elif quantizer.moving_rate is not None and any(statistics.moving is None for statistics in tensors):
            yield f"{where} {side} has no moving average, which {type(quantizer).__name__} needs"


def _same_settings(statistics: TensorStatistics, quantizer: StatisticsQuantizer) -> bool:
    rate = None if statistics.moving is None else statistics.moving.rate
    return statistics.settings == quantizer.summary_settings and rate == quantizer.moving_rate


def _copy(layer: LayerStatistics) -> LayerStatistics:
    copies = {side: [statistics.copy() for statistics in tensors] for side, tensors in layer.sides().items()}
    for statistics in [*copies["input"], *copies["output"]]:
        statistics.batches = 0  # how often it was updated says nothing about the data
    channels = None if layer.channels is None else layer.channels.copy()
    return LayerStatistics(layer.class_name, **copies, channels=channels)


def _merge_layer(name: str, into: LayerStatistics, other: LayerStatistics) -> None:
    if into.class_name != other.class_name:
        raise CalibrationError(f"layer '{name}' is a {into.class_name} in one part and a {other.class_name} in another: not the same model")
    added = _copy(other)
    if into.channels is None or added.channels is None:
        into.channels = None  # ranges of one part alone are no ranges of all
    else:
        into.channels.merge(added.channels)
    for side in SIDES:
        mine, theirs = getattr(into, side), getattr(added, side)
        if not mine or not theirs:
            setattr(into, side, mine or theirs)
            continue
        if len(mine) != len(theirs):
            raise CalibrationError(f"layer '{name}' has {len(mine)} {side} tensors in one part and {len(theirs)} in another")
        for statistics, part in zip(mine, theirs, strict=True):
            try:
                statistics.merge(part)
            except (CalibrationError, ConfigError) as error:
                raise type(error)(f"layer '{name}' {side}: {error}") from error


def _has_object(node: Node) -> bool:
    ((kind, content),) = node.items()
    if kind in ("tuple", "list"):
        return any(map(_has_object, content))
    return any(_has_object(item) for _, item in content) if kind == "dict" else kind == "object"
