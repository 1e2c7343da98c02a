"""What an example tells that is run through the model: whether it runs, where NaN appears, and the range of every call's input."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle
from paddle import nn

from quantizers import as_float_array

from ...graph.interception import intercept
from ...registry import PTQRegistry, input_argument
from ...util.messages import last_line
from ...util.nests import leaves, map_tensors
from .dataflow import Forward
from .report import Finding

__all__ = ["Example"]

SAME = 1e-3  # of the largest magnitude: what two runs of one forward may differ by


class Example:
    """One or two eager forwards of an example, watched.

    Args:
        model: in eval mode.
        args, kwargs: of ``forward``; copies are passed on.
        forward: told what was called.

    Attributes:
        ranges: abs-max of the input of every call of a layer with weights, by layer.
        findings: what was found.
        has_run: whether the forward came to its end.
    """

    def __init__(self, model: nn.Layer, args: Any, kwargs: Any, forward: Forward) -> None:
        self.ranges: dict[str, list[float]] = {}
        self.findings: list[Finding] = []
        self._names = {id(layer): name for name, layer in model.named_sublayers(include_self=True)}
        self._given = ("", "")
        self._non_finite: dict[tuple[str, bool], str] = {}
        for tensor in leaves((args, kwargs)):
            self._look("", tensor, is_sampled=False)
        answers = []
        try:
            with paddle.no_grad(), forward.watching(model), intercept(model, self):
                answers.append(model(*_copies(args), **_copies(kwargs)))
            with paddle.no_grad():
                answers.append(model(*_copies(args), **_copies(kwargs)))
        except Exception as error:  # the user's code: anything may come out of it
            self.findings.append(self._raised(error))
        self.has_run = len(answers) == 2
        self.findings.extend(self._non_finite_findings())
        if self.has_run and not self._non_finite and not _is_same(*answers):
            message = "two forwards of the same example give different answers, in eval mode: a saved model cannot be checked"
            self.findings.append(Finding("warning", "", "not-repeatable", message, "remove what is random or kept from call to call"))

    def operation(self, site: str, output: Any, _args: Any) -> Any:
        """Watches functional operations, see `interception.Watcher`."""
        self._look(site, output, is_sampled=False)
        return output

    def enter(self, _site: str, layer: nn.Layer, args: Any, kwargs: Any) -> Any:
        """Watches what layers are given."""
        name, tensor = self._names[id(layer)], args[0] if args else kwargs.get(input_argument(layer.__class__))
        if isinstance(tensor, paddle.Tensor):
            self._given = name, f" (given {str(tensor.dtype).rpartition('.')[2]} {list(tensor.shape)})"
        if PTQRegistry.is_simulated_quant_layer(layer) and _is_floating(tensor):
            array = as_float_array(tensor, where="an input")
            self.ranges.setdefault(name, []).append(float(max(-array.min(), array.max())))
        return args, kwargs

    def layer(self, site: str, _name: str, output: Any, _args: Any) -> Any:
        """Watches what layers compute."""
        for tensor in leaves(output):
            self._look(site, tensor, is_sampled=True)
        return output

    def _look(self, site: str, tensor: Any, *, is_sampled: bool) -> None:
        if not _is_floating(tensor):
            return
        array = as_float_array(tensor, where=site)
        low, high = array.min(), array.max()
        if not (np.isfinite(low) and np.isfinite(high)):
            self._non_finite.setdefault(("NaN" if np.isnan(low) else "Inf", is_sampled), site)

    def _non_finite_findings(self) -> Iterator[Finding]:
        for (kind, is_sampled), site in self._non_finite.items():
            where = "appears here first" if site else "is in the example, or in the answer of a model that is one layer"
            if kind == "NaN" or is_sampled:
                message = f"{kind} {where}: calibration refuses such a batch"
                yield Finding("error", site, "non-finite-activation", message, "fix the data or the model")
                return  # what comes after it comes from it
            message = f"{kind} {where}; that is harmless only in a mask that a softmax takes in"
            yield Finding("info", site, "non-finite-activation", message, "look whether this is a mask")

    def _raised(self, error: Exception) -> Finding:
        names = [
            self._names[id(frame.f_locals["self"])]
            for frame, _ in traceback.walk_tb(error.__traceback__)
            if id(frame.f_locals.get("self")) in self._names
        ]
        name = names[-1] if names else ""
        given = self._given[1] if self._given[0] == name else ""
        message = f"forward raises {type(error).__name__} here{given}: {last_line(error)}"
        return Finding("error", name, "forward-raises", message, "pass arguments as forward expects them, or fix the layer")


def _copies(nest: Any) -> Any:
    return map_tensors(lambda tensor: tensor.detach().clone(), nest)


def _is_floating(tensor: Any) -> bool:
    return isinstance(tensor, paddle.Tensor) and tensor.is_floating_point() and tensor.size > 0


def _is_same(first: Any, second: Any) -> bool:
    pairs = list(zip(leaves(first), leaves(second), strict=False))
    for a, b in pairs:
        if _is_floating(a) and _is_floating(b):
            x, y = as_float_array(a, where="an answer"), as_float_array(b, where="an answer")
            if x.shape != y.shape or float(np.abs(x - y).max()) > SAME * float(np.abs(x).max()):
                return False
    return True
