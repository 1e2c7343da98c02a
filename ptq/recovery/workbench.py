"""A converted model on the workbench: its float twin, its weights and grids, samples to fit on and to judge by, and a way back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
from paddle import nn

from quantizers import QParams
from quantizers.errors import ModelError

from ..calibration.seen import Sample
from ..calibration.state import State, state_of
from ..convert.apply import as_float
from ..convert.biases import round_biases
from ..layers import GridInput, QuantizedLayer
from ..layers.gridded import grids_of, is_gridded
from ..util.modes import eval_mode
from .judge import Answers, Judge, Metric, mean_sqnr
from .progress_line import ProgressLine
from .samples import divide, size_of
from .units import Unit, units_of

__all__ = ["Snapshot", "Workbench"]

MEMORY = 1 << 30
BUFFERS = ("weight_quantized", "weight_scale", "input_scale", "input_zero_point")


@dataclass(frozen=True)
class Snapshot:
    """What recoveries may change: buffers of twins by twin and name, grids of inputs, and biases before they are rounded."""

    buffers: dict[str, dict[str, paddle.Tensor]]
    grids: dict[str, QParams | None]
    biases: dict[str, npt.NDArray[np.float64]]


@dataclass
class Workbench:
    """See the module; recoveries change the model's twins in place.

    Args:
        model: from `ImperativePTQ.convert` with ``keep_float=True``.
        samples: calls of it, see `samples.divide`.
        metric: judges, see `judge.Metric`.
        memory: bytes that cached features and sums may take.
        seed: of every random choice.
        report: is told what goes on: what, how far of how many.

    Attributes:
        float_model: the model with its float layers.
        twins: by name, activation grids included, in the order of the model.
        layers: the float layers of the same names.
        units: the weights that can be worked on, in the order of execution.
        biases: of the twins, as they are before rounding.
        fit, held: samples.
        judge: by the held-back samples.
        left_out: names of units whose sums do not fit the memory, so that they stay as they are.

    Raises:
        ModelError: the float layers are not known, or nothing is quantized.
    """

    model: nn.Layer
    samples: Sequence[Sample]
    metric: Metric = mean_sqnr
    memory: int = MEMORY
    seed: int = 0
    report: Callable[[str, int, int], None] = field(default=ProgressLine(False))

    def __post_init__(self) -> None:
        state = state_of(self.model)
        if state is None or state.converted is None:
            raise ModelError("recovery needs the model that ImperativePTQ.convert returned")
        self.state: State = state
        self.float_model = as_float(self.model)
        self.twins: dict[str, GridInput] = {
            name: twin for name, twin in self.model.named_sublayers(include_self=True) if _is_twin(twin) and name in state.layers
        }
        floats = dict(self.float_model.named_sublayers(include_self=True))
        self.layers: Mapping[str, nn.Layer] = {name: floats[name] for name in self.twins}
        self.fit, self.held = divide(self.samples)
        self.judge = Judge(self.float_model, self.held, self.metric)
        self.biases = {name: self.float_bias(name) for name, twin in self.twins.items() if _has_bias(twin)}
        self.units = self._in_order(units_of(self.layers, self.twins))
        self.on_grids = self._on_grids()
        self.left_out: set[str] = set()

    def float_bias(self, name: str) -> npt.NDArray[np.float64]:
        """What the bias of a twin stands for: that of the float layer, times what its results are multiplied by, and what was added."""
        twin, bias = self.twins[name], self.layers[name]._parameters.get("bias")
        own = np.zeros(twin.bias.shape) if bias is None else bias.astype("float32").numpy().astype(np.float64)
        return np.asarray(own * twin.result_factors + twin.bias_offsets)

    def _in_order(self, units: list[Unit]) -> list[Unit]:
        """In the order in which a forward first comes to them; those that it never comes to are left out."""
        order: dict[str, int] = {}

        def note(name: str) -> Callable[..., None]:
            def hook(*_: Any) -> None:
                order.setdefault(name, len(order))

            return hook

        hooks = [self.layers[name].register_forward_post_hook(note(name)) for unit in units for name in unit.names]
        try:
            with paddle.no_grad(), eval_mode(self.float_model):
                args, kwargs = self.fit[0].call()
                self.float_model(*args, **kwargs)
        finally:
            for hook in hooks:
                hook.remove()
        reached = [unit for unit in units if any(name in order for name in unit.names)]
        return sorted(reached, key=lambda unit: min(order[name] for name in unit.names if name in order))

    def _on_grids(self) -> dict[str, list[str]]:
        names = {id(layer): name for name, layer in self.model.named_sublayers()}
        of_site = {site: names[id(grid)] for site, grid in grids_of(self.model).items()}
        found = {}
        for name, twin in self.twins.items():
            own = self.state.layers.get(name)
            if twin.input_qparams is None and own is not None and own.input_sites:
                grids = [of_site[site] for site in own.input_sites if site in of_site]
                if grids and all(grid in self.twins for grid in grids):
                    found[name] = grids
        return found

    @property
    def fewest_bits(self) -> int:
        """Of a weight that can be worked on, or of a grid."""
        grids = [twin.input_qparams.num_bits for twin in self.twins.values() if twin.input_qparams is not None]
        return min([*grids, *(unit.bits for unit in self.units)], default=8)

    @staticmethod
    def count(samples: Sequence[Sample]) -> int:
        """How many samples calls have together."""
        return sum(size_of(sample) for sample in samples)

    def settle(self) -> None:
        """Writes the biases into the twins, on the grids of the integer sums where the model's activations are on grids."""
        for name, bias in self.biases.items():
            self.twins[name].set_bias(bias)
        if is_gridded(self.model):
            round_biases(self.twins, self.on_grids)

    def answers(self) -> Answers:
        """What the model as it is answers to the held-back samples."""
        self.settle()
        return self.judge.answers(self.model)

    def score(self) -> float:
        """What the judge says of the model as it is."""
        return self.judge.figure(self.answers())

    def snapshot(self) -> Snapshot:
        """The state of the twins; tensors are shared, for they are replaced and never written into."""
        buffers = {
            name: {key: value for key, value in twin._buffers.items() if key in BUFFERS and value is not None}
            for name, twin in self.twins.items()
        }
        grids = {name: twin.input_qparams for name, twin in self.twins.items()}
        return Snapshot(buffers, grids, {name: bias.copy() for name, bias in self.biases.items()})

    def restore(self, snapshot: Snapshot) -> None:
        """Back to a state."""
        for name, buffers in snapshot.buffers.items():
            for key, value in buffers.items():
                self.twins[name].register_buffer(key, value)
            self.twins[name].input_qparams = snapshot.grids[name]
        self.biases = {name: bias.copy() for name, bias in snapshot.biases.items()}
        self.settle()


def _is_twin(layer: Any) -> bool:
    return isinstance(layer, GridInput)


def _has_bias(twin: GridInput) -> bool:
    return isinstance(twin, QuantizedLayer) and twin._parameters.get("bias") is not None
