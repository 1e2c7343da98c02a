"""What a traced forward tells: whether it can be traced, what it never calls, where it draws random numbers."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from quantizers.errors import TraceError

from ...graph.dataflow import Graph
from ...graph.tracing import trace
from ...passes.fold_batch_norm import is_batch_norm, why_not_foldable
from ...registry import PTQRegistry
from ...util.modes import untraced
from .report import Finding

__all__ = ["Forward", "dataflow", "dead_layers"]

RANDOM = frozenset(
    f"pd_op.{name}{inplace}"
    for name in ("uniform", "gaussian", "bernoulli", "binomial", "poisson", "multinomial", "randint", "randperm", "exponential", "rrelu")
    for inplace in ("", "_", "_inplace")
) | {"pd_op.truncated_gaussian_random", "pd_op.standard_gamma"}
UNCALLED = (nn.LayerList, nn.LayerDict, nn.ParameterList, nn.Identity)  # nothing is amiss when forward never calls these


class Forward:
    """What hooks see of one forward, eager or traced.

    Attributes:
        called: ids of the layers that were called.
        random: of a traced forward, the innermost layer and the name of every operation that draws random numbers.
    """

    def __init__(self) -> None:
        self.called: set[int] = set()
        self.random: list[tuple[str, str]] = []
        self._names: dict[int, str] = {}
        self._around = [""]
        self._looked_at = 0

    @contextlib.contextmanager
    def watching(self, model: nn.Layer) -> Iterator[None]:
        """While entered, calls of the model's layers are noted."""
        self._names = {id(layer): name for name, layer in model.named_sublayers(include_self=True)}
        handles = []
        try:
            for layer in model.sublayers(include_self=True):
                handles += [layer.register_forward_pre_hook(self._begin, prepend=True), layer.register_forward_post_hook(self._end)]
            yield
        finally:
            for handle in handles:
                handle.remove()

    @untraced
    def _begin(self, layer: nn.Layer, _args: Any) -> None:
        self.called.add(id(layer))
        if not paddle.in_dynamic_mode():
            self._look()
            self._around.append(self._names[id(layer)])

    @untraced
    def _end(self, _layer: nn.Layer, _args: Any, _output: Any) -> None:
        if not paddle.in_dynamic_mode():
            self._look()
            self._around.pop()

    def _look(self) -> None:
        ops = paddle.static.default_main_program().global_block().ops
        for op in ops[self._looked_at :]:
            self.random.extend((self._around[-1], random.name().removeprefix("pd_op.")) for random in _random(op))
        self._looked_at = len(ops)


def _random(op: Any) -> Iterator[Any]:
    is_dropout = op.name() == "pd_op.dropout" and not op.attrs().get("is_test", True)
    if is_dropout or op.name() in RANDOM:
        yield op
    for block in op.blocks():
        for inner in block.ops:
            yield from _random(inner)


def dataflow(model: nn.Layer, args: Sequence[Any], kwargs: Mapping[str, Any], forward: Forward) -> tuple[Graph | None, list[Finding]]:
    """Traces the model once.

    Args:
        model: as the user gave it; it is traced in eval mode.
        args, kwargs: of ``forward``, `InputSpec`s in place of tensors.
        forward: told what was called.

    Returns:
        The graph, ``None`` where there is none, and the findings.
    """
    try:
        with forward.watching(model):
            graph = trace(model, args, kwargs)
    except TraceError as error:
        advice = "let control flow depend on shapes and attributes only (paddle.where chooses by data); otherwise pass fuse_list to fuse"
        return None, [Finding("error", "", "untraceable", f"{error}, and neither placement 'full' nor saving", advice)]
    findings = [*_branches(graph), *_random_numbers(forward), *_batch_norms(model, graph)]
    return graph, findings


def _branches(graph: Graph) -> Iterator[Finding]:
    if any(op.has_blocks for op in graph.ops):
        yield Finding(
            "warning",
            "",
            "branches",
            "forward branches or loops on data: placement 'full' is refused, and a layer called several times gets one range for all calls",
            "choose with paddle.where instead of if, or keep placement='compute'",
        )


def _random_numbers(forward: Forward) -> Iterator[Finding]:
    for layer, operation in dict.fromkeys(forward.random):
        if operation == "dropout":
            message = "a dropout is active in eval mode (F.dropout needs training=self.training)"
            yield Finding("warning", layer, "dropout-active", message, "pass training=self.training, or use nn.Dropout")
        else:
            message = f"draws random numbers in eval mode ({operation}): answers differ from run to run, so a saved model cannot be checked"
            yield Finding("warning", layer, "random", message, "draw only if self.training, or pass the numbers in as an input")


def _batch_norms(model: nn.Layer, graph: Graph) -> Iterator[Finding]:
    layers = dict(model.named_sublayers(include_self=True))
    before = {graph.sole_reader(name): name for name in graph.layers() if PTQRegistry.is_simulated_quant_layer(layers[name])}
    for name in graph.layers():
        if is_batch_norm(layers[name]):
            partner = before.get(name)
            reason = "no convolution or Linear before it whose output goes nowhere else"
            reason = reason if partner is None else why_not_foldable(layers[partner], layers[name])
            if reason:
                yield Finding("info", name, "norm-not-folded", f"cannot be folded: {reason}", "nothing: it stays, in float")


def dead_layers(model: nn.Layer, called: Collection[int]) -> Iterator[Finding]:
    """Layers that are registered, and that the forward did not call: the topmost of each such part."""

    def is_dead(layer: nn.Layer) -> bool:
        return not any(id(inner) in called for inner in layer.sublayers(include_self=True))

    def walk(layer: nn.Layer, prefix: str) -> Iterator[Finding]:
        for name, child in layer.named_children():
            path = f"{prefix}.{name}" if prefix else name
            if not is_dead(child):
                yield from () if _is_whole(child) else walk(child, path)
            elif not isinstance(child, UNCALLED) or child.sublayers():
                compute = any(PTQRegistry.is_simulated_quant_layer(inner) for inner in child.sublayers(include_self=True))
                message = "forward never calls it" + (": no data will reach it, so it stays float" if compute else "")
                advice = "call it or remove it; if forward reads its weights only, it stays float"
                yield Finding("warning" if compute else "info", path, "dead-layer", message, advice)

    yield from walk(model, "")


def _is_whole(layer: nn.Layer) -> bool:
    return PTQRegistry.is_supported_layer(layer) and PTQRegistry.layer_info(layer).whole
