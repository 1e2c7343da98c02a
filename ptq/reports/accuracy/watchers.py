"""What watches the forwards of a model and of its quantized twin: who notes, and who puts float tensors in the place of computed ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy.typing as npt
import paddle
from paddle import nn

from ...layers import GridInput
from ...layers.gridded import ActivationGrids
from ...registry import input_argument
from .subject import Float, as_array

__all__ = ["Comparing", "Forcing", "Noting"]

Array = npt.NDArray[Any]
SeeTensor = Callable[[str, Any], None]


class Noting:
    """Watches the float model: keeps what layers read and what layers and operations compute.

    With ``copies`` arrays are the model's tensors no more; ``changed`` tells afterwards whether that was needed, since an operation
    changed in place what another had computed.
    """

    def __init__(self, found: Float, wanted: Callable[[str, str], bool], copies: bool) -> None:
        self._found, self._wanted, self._copies = found, wanted, copies
        self._seen: list[tuple[Any, int]] = []

    def enter(self, site: str, layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        """Notes what a compute layer reads."""
        if self._wanted(site, site.split("@")[0]):
            array = self._kept(_first_argument(layer, args, kwargs))
            if array is not None:
                self._found.inputs[site] = array
        return args, kwargs

    def layer(self, site: str, _name: str, output: Any, args: Any) -> Any:
        """Notes what a layer computes."""
        return self.operation(site, output, args)

    def operation(self, site: str, output: Any, _args: Any) -> Any:
        """Notes what an operation computes."""
        array = self._kept(output)
        if array is not None:
            self._found.outputs[site] = array
        return output

    def _kept(self, value: Any) -> Array | None:
        if isinstance(value, paddle.Tensor):
            self._seen.append((value, value.inplace_version))
        return as_array(value, self._copies)

    @property
    def changed(self) -> bool:
        """Whether a tensor was changed in place after it was noted."""
        return any(tensor.inplace_version != version for tensor, version in self._seen)


class Comparing:
    """Watches the quantized model as it is: tells what layers compute, before it is put on a grid."""

    def __init__(self, grids: ActivationGrids | None, see: SeeTensor) -> None:
        self._grids, self._see = grids, see

    def enter(self, site: str, layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        """Puts the input on its grid."""
        return (args, kwargs) if self._grids is None else self._grids.enter(site, layer, args, kwargs)

    def layer(self, site: str, name: str, output: Any, args: Any) -> Any:
        """Tells, and puts the result on its grid."""
        self._see(site, output)
        return output if self._grids is None else self._grids.layer(site, name, output, args)

    def operation(self, site: str, output: Any, args: Any) -> Any:
        """Tells, and puts the result on its grid."""
        self._see(site, output)
        return output if self._grids is None else self._grids.operation(site, output, args)


class Forcing(Comparing):
    """The same, but the model goes on with what the float model has in each place, so that no layer reads another one's errors.

    ``passes_on`` tells of a place that its result is not replaced: a ReLU's, or that of a layer that passes its input on.  The input was,
    and where channels have grids of their own the result is in their units.  ``in_twin_units`` gives a float layer's result in them.
    """

    def __init__(
        self,
        grids: ActivationGrids | None,
        see: SeeTensor,
        see_input: SeeTensor,
        floats: Float,
        in_twin_units: Callable[[str, Array], Array],
        passes_on: Callable[[str], bool],
    ) -> None:
        super().__init__(grids, see)
        self._see_input, self._floats, self._in_twin_units, self._passes_on = see_input, floats, in_twin_units, passes_on

    def enter(self, site: str, layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        """Tells what the layer multiplies."""
        args, kwargs = super().enter(site, layer, args, kwargs)
        if site in self._floats.inputs:
            x = _first_argument(layer, args, kwargs)
            self._see_input(site, layer.quantize_input(x) if isinstance(layer, GridInput) and isinstance(x, paddle.Tensor) else x)
        return args, kwargs

    def layer(self, site: str, name: str, output: Any, args: Any) -> Any:
        """Tells what it computed, and goes on with the float model's result on the grid of this one."""
        self._see(site, output)
        forced = output if self._passes_on(site) else self._forced(site, output)
        return forced if self._grids is None else self._grids.layer(site, name, forced, args)

    def operation(self, site: str, output: Any, args: Any) -> Any:
        """The same for an operation."""
        return self.layer(site, site, output, args)

    def _forced(self, site: str, output: Any) -> Any:
        reference = self._floats.outputs.get(site)
        if isinstance(output, (tuple, list)) and output:
            return type(output)([self._forced(site, output[0]), *output[1:]])
        if reference is None or not isinstance(output, paddle.Tensor) or list(reference.shape) != list(output.shape):
            return output
        return paddle.to_tensor(self._in_twin_units(site, reference)).astype(output.dtype)


def _first_argument(layer: nn.Layer, args: Any, kwargs: Any) -> Any:
    return args[0] if args else kwargs.get(input_argument(layer.__class__))
