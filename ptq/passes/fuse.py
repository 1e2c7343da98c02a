"""Finds what to fuse, by name or in the traced graph, and folds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from paddle import nn

from quantizers.errors import FuseError

from ..graph.dataflow import Graph
from ..registry import PTQRegistry
from .fold_batch_norm import activation_of, fold_batch_norm, is_batch_norm, is_channel_last, why_not_foldable
from .replace import replace_layers

__all__ = ["check_folded", "fuse_named", "fuse_traced"]

Release = Callable[[nn.Layer], None]

NOT_ALONE = "the batch norm does not take exactly what the layer before it computes, at every use of the two"
PATTERNS = "[compute, batch norm], [compute, batch norm, activation], [compute, activation] and [batch norm, activation]"


def fuse_named(model: nn.Layer, fuse_list: Sequence[Sequence[str]], graph: Graph | None = None) -> tuple[set[str], list[tuple[str, str]]]:
    """Fuses the layers named in ``fuse_list``, in place.

    A batch norm is folded into the compute layer before it; an activation stays where it is, since runtimes merge it with the
    layer before it, and is only noted.

    Args:
        model: changed in place.
        fuse_list: lists of sublayer names, e.g. ``[["conv1", "bn1"], ["conv2", "bn2", "relu2"]]``.
        graph: the model's dataflow, to hold the list against; without it, `check_folded` must be called once there is one.

    Returns:
        Names of the layers whose output goes straight to an activation, and the pairs that were folded.

    Raises:
        FuseError: a name does not exist, is listed twice, a group is not one of the patterns that can be fused, or the graph
            shows that the batch norm does not take all that the layer before it computes.
    """
    layers = dict(model.named_sublayers(remove_duplicate=False))  # a layer can be named by any of its names
    first_names = {id(layer): name for name, layer in model.named_sublayers()}
    activated: set[str] = set()
    used: set[str] = set()
    pairs = []
    if not isinstance(fuse_list, (list, tuple)):
        raise FuseError(f"fuse_list must be a list of lists of sublayer names, got {fuse_list!r}")
    for group in fuse_list:
        _check_group(group, layers)
        names = [first_names[id(layers[name])] for name in group]
        for name in names:
            if name in used:
                raise FuseError(f"fuse_list: {name!r} is listed twice")
            used.add(name)
        kinds = [_kind(layers[name]) for name in names]
        if kinds[:2] == ["compute", "batch norm"] and kinds[2:] in ([], ["activation"]):
            reason = why_not_foldable(layers[names[0]], layers[names[1]])
            if reason:
                raise FuseError(f"fuse_list: {names} cannot be fused: {reason}")
            if graph is not None and not (graph.sole_reader(names[0]) == names[1] and graph.has_private_parameters(names[0])):
                raise FuseError(f"fuse_list: {names} cannot be fused: {NOT_ALONE}")
            pairs.append((names[0], names[1]))
        elif kinds not in (["compute", "activation"], ["batch norm", "activation"]):
            raise FuseError(f"fuse_list: {names} is {kinds}; what can be fused is {PATTERNS}")
        if kinds[-1] == "activation":
            activated.update(names[:-1])
    _fold(model, layers, pairs)
    return activated, pairs


def check_folded(pairs: Sequence[tuple[str, str]], graph: Graph) -> None:
    """Holds pairs that were folded by name against the graph of the folded model.

    Raises:
        FuseError: somewhere the batch norm took another tensor than the layer's output, so that folding changed the model.
    """
    for name, norm in pairs:
        given = sorted(value for site in graph.sites_of(name) for value in site.outputs)
        taken = sorted(value for site in graph.sites_of(norm) for value in site.inputs[:1])
        if given != taken:
            raise FuseError(f"fuse_list: ['{name}', '{norm}'] should not have been fused: {NOT_ALONE}; quantize the float model again")


def fuse_traced(
    model: nn.Layer, graph: Graph, release: Release | None = None, skip: Callable[[nn.Layer], bool] | None = None
) -> list[tuple[str, str]]:
    """Folds every batch norm that the graph shows to follow a compute layer and nothing else, in place.

    ``release`` is called with each batch norm that is about to leave the model, to take off it what is not the user's.  Layers of which
    ``skip`` is true keep theirs.

    Returns:
        Names of the pairs that were folded.
    """
    layers = dict(model.named_sublayers())
    pairs = []
    for name in graph.layers():
        norm = graph.sole_reader(name)
        if norm is None or name not in layers or norm not in layers or why_not_foldable(layers[name], layers[norm]):
            continue
        if skip is not None and skip(layers[name]):
            continue
        if isinstance(layers[name], nn.Linear) and graph.output_rank(name) > 2 and not is_channel_last(layers[norm]):
            continue  # the batch norm's channels are not the Linear's features
        if graph.has_private_parameters(name) and graph.has_private_parameters(norm):
            pairs.append((name, norm))
    _fold(model, layers, pairs, release)
    return pairs


def _fold(model: nn.Layer, layers: dict[str, nn.Layer], pairs: list[tuple[str, str]], release: Release | None = None) -> None:
    remains = {layers[norm]: activation_of(layers[norm]) for _, norm in pairs}
    for norm, rest in remains.items():
        rest.training = norm.training
        if release is not None:
            release(norm)
        for name, value in vars(norm).items():
            if name.startswith("_forward_"):  # the user's hooks, in the same containers, so that their handles keep working
                setattr(rest, name, value)
    for name, norm_name in pairs:
        fold_batch_norm(layers[name], layers[norm_name])
    replace_layers(model, remains)


def _check_group(group: Sequence[str], layers: dict[str, nn.Layer]) -> None:
    if not isinstance(group, (list, tuple)) or not all(isinstance(name, str) for name in group) or len(group) < 2:
        raise FuseError(f"fuse_list holds lists of at least two sublayer names, got {group!r}")
    for name in group:
        if name not in layers:
            raise FuseError(f"fuse_list: the model has no sublayer {name!r}; named_sublayers() lists the names")


def _kind(layer: nn.Layer) -> str:
    if PTQRegistry.is_simulated_quant_layer(layer):
        return "compute"
    if is_batch_norm(layer):
        return "batch norm"
    if PTQRegistry.is_supported_layer(layer) and PTQRegistry.layer_info(layer).activation:
        return "activation"
    return type(layer).__name__
