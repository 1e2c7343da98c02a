"""An ONNX graph that can be edited: who computes a value, who reads it, and which values are constants."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from quantizers.errors import ExportError

from ...util.extras import import_extra

__all__ = ["GRID", "EditableGraph"]

# A fake quantization as one node: inputs value, scale, zero point; attribute `bits`.  It lives only while the graph is rewritten.
GRID = "Grid"


class EditableGraph:
    """The nodes of an ONNX model with the indexes that rewriting needs.

    Nodes may be added in any order; `to_model` sorts them.  ``constants`` maps names to arrays; constants that no node reads are
    left out of the model.  ``shapes`` holds what shape inference found: a number or ``None`` per dimension.
    """

    def __init__(self, model: Any, names: Mapping[str, str] | None = None) -> None:
        self._onnx = import_extra("onnx", "onnx")
        self._model = model
        graph = model.graph
        names = names or {}
        to_array = self._onnx.numpy_helper.to_array
        self.constants: dict[str, np.ndarray] = {names.get(item.name, item.name): to_array(item) for item in graph.initializer}
        self.inputs = [item.name for item in graph.input if names.get(item.name, item.name) not in self.constants]
        self.outputs = [item.name for item in graph.output]
        self.shapes: dict[str, tuple[int | None, ...]] = {}
        self._nodes: dict[int, Any] = {}
        self._producer: dict[str, Any] = {}
        self._readers: dict[str, dict[int, Any]] = {}
        self._pinned = set(self.outputs)
        self._node_names: set[str] = set()
        self._counter = 0
        self.opsets = list(model.opset_import)
        nodes = self._onnx.GraphProto()
        nodes.node.extend(graph.node)  # copies: the model that was given stays as it is
        for node in nodes.node:
            if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
                self.constants[names.get(node.output[0], node.output[0])] = to_array(node.attribute[0].t)
            else:
                node.input[:] = [names.get(name, name) for name in node.input]
                self.name(node, node.name)
                self._index(node)
        self._pinned.update(name for node in self for name in _captured(node))

    def __iter__(self) -> Iterator[Any]:
        """The nodes of the moment: the graph may be changed while they are visited."""
        return iter(list(self._nodes.values()))

    def of(self, *op_types: str) -> list[Any]:
        """The nodes of these types that are still in the graph."""
        return [node for node in self if node.op_type in op_types]

    def producer(self, value: str) -> Any | None:
        """The node that computes a value."""
        return self._producer.get(value)

    def readers(self, value: str) -> list[Any]:
        """The nodes that read a value, each once."""
        return list(self._readers.get(value, {}).values())

    def only_reader(self, value: str) -> Any | None:
        """The node that alone receives a value; ``None`` when others, or the caller of the model, receive it too."""
        readers = self.readers(value)
        return readers[0] if len(readers) == 1 and value not in self._pinned else None

    def is_pinned(self, value: str) -> bool:
        """Whether the value must keep its name: an output of the model, or read inside a branch or loop."""
        return value in self._pinned

    def holds(self, node: Any) -> bool:
        """Whether the node is still part of the graph."""
        return id(node) in self._nodes

    def shape(self, value: str) -> tuple[int | None, ...] | None:
        """Shape of a value, as far as known."""
        return tuple(self.constants[value].shape) if value in self.constants else self.shapes.get(value)

    def attribute(self, node: Any, name: str, default: Any = None) -> Any:
        """An attribute of a node, or ``default`` where it has none of that name."""
        for item in node.attribute:
            if item.name == name:
                return self._onnx.helper.get_attribute_value(item)
        return default

    def evaluate(self, node: Any, *given: np.ndarray) -> np.ndarray:
        """What a node of one output computes of its constants, the first of its inputs being ``given``."""
        arrays = [*given, *(self.constants[name] for name in list(node.input)[len(given) :] if name)]
        names = [f"given.{position}" for position in range(len(arrays))]
        used = iter(names)
        alone = self._onnx.NodeProto()
        alone.CopyFrom(node)
        alone.input[:] = [next(used) if position < len(given) or name else "" for position, name in enumerate(node.input)]
        make, dtype = self._onnx.helper.make_tensor_value_info, self._onnx.helper.np_dtype_to_tensor_dtype
        inputs = [make(name, dtype(array.dtype), array.shape) for name, array in zip(names, arrays, strict=True)]
        graph = self._onnx.helper.make_graph([alone], "constant", inputs, [self._onnx.ValueInfoProto(name=node.output[0])])
        model = self._onnx.helper.make_model(graph, opset_imports=self.opsets)
        reference = import_extra("onnx.reference", "onnx")
        return np.asarray(reference.ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))[0])

    def number(self, value: str) -> float | None:
        """The number that a constant of one element holds."""
        array = self.constants.get(value)
        return float(array.item()) if array is not None and array.size == 1 else None

    def fresh(self, hint: str) -> str:
        """A name that no value or node has yet."""
        taken = hint
        while taken in self._producer or taken in self.constants or taken in self.inputs or taken in self._pinned:
            self._counter += 1
            taken = f"{hint}.{self._counter}"
        return taken

    def constant(self, array: Any, hint: str) -> str:
        """Name of a constant of that value; made when there is none under the name yet."""
        value = np.asarray(array)
        known = self.constants.get(hint)
        if known is not None and known.dtype == value.dtype and known.shape == value.shape and np.array_equal(known, value):
            return hint
        name = self.fresh(hint)
        self.constants[name] = value
        return name

    def add(
        self, op_type: str, inputs: Sequence[str], output: str = "", name: str = "", more_outputs: Sequence[str] = (), **attributes: Any
    ) -> str:
        """Adds a node and returns the name of its first output."""
        output = output or self.fresh(f"{name or op_type}:out")
        node = self._onnx.helper.make_node(op_type, list(inputs), [output, *more_outputs], **attributes)
        self.name(node, name or output)
        self._index(node)
        return output

    def name(self, node: Any, name: str) -> None:
        """Names a node; a name that another has gets a number, ``@1`` for the second."""
        self._node_names.discard(node.name)
        uses = itertools.count(1)
        node.name = name
        while node.name in self._node_names:
            node.name = f"{name}@{next(uses)}"
        self._node_names.add(node.name)

    def remove(self, node: Any) -> None:
        """Takes a node out; values that it computed must have no readers left, or get a new producer."""
        del self._nodes[id(node)]
        self._node_names.discard(node.name)
        for name in set(node.input):
            self._readers.get(name, {}).pop(id(node), None)
        for name in node.output:
            if self._producer.get(name) is node:
                del self._producer[name]

    def set_input(self, node: Any, position: int, value: str) -> None:
        """Makes a node read another value; positions may grow by one."""
        old = node.input[position] if position < len(node.input) else ""
        if position == len(node.input):
            node.input.append(value)
        else:
            node.input[position] = value
        if old and old not in node.input:
            self._readers.get(old, {}).pop(id(node), None)
        self._readers.setdefault(value, {})[id(node)] = node

    def redirect(self, old: str, new: str, readers: Iterable[Any] | None = None) -> None:
        """Makes the readers of ``old`` (all of them, or those given) read ``new``."""
        for node in self.readers(old) if readers is None else list(readers):
            for position, name in enumerate(list(node.input)):
                if name == old:
                    self.set_input(node, position, new)

    def rename_output(self, node: Any, old: str, new: str) -> None:
        """Gives a value that ``node`` computes another name; its readers are not touched."""
        position = list(node.output).index(old)
        node.output[position] = new
        if self._producer.get(old) is node:
            del self._producer[old]
        self._producer[new] = node
        if old in self.shapes:
            self.shapes[new] = self.shapes[old]

    def replace(self, node: Any, value: str) -> bool:
        """Takes out a node of one output, whose readers read ``value`` instead; ``False`` when names that must stay forbid it."""
        output = node.output[0]
        if not self.is_pinned(output):
            self.redirect(output, value)
            self.remove(node)
            return True
        source = self.producer(value)
        if source is None or self.is_pinned(value):
            return False
        self.remove(node)
        self.redirect(value, output)
        self.rename_output(source, value, output)
        return True

    def prune(self) -> None:
        """Takes out the nodes whose results nobody reads."""
        pending = list(self)
        while pending:
            node = pending.pop()
            if self.holds(node) and not any(self.readers(name) or self.is_pinned(name) for name in node.output):
                pending.extend(source for name in node.input if (source := self.producer(name)) is not None)
                self.remove(node)

    def infer_shapes(self) -> None:
        """Fills ``shapes`` anew; custom nodes must keep the shape of their first input."""
        model = self._onnx.shape_inference.infer_shapes(self.to_model(grids_as_identity=True), data_prop=True)
        graph = model.graph
        self.shapes = {
            item.name: tuple(size.dim_value if size.HasField("dim_value") else None for size in item.type.tensor_type.shape.dim)
            for item in (*graph.input, *graph.output, *graph.value_info)
            if item.type.tensor_type.HasField("shape")
        }

    def to_model(self, grids_as_identity: bool = False) -> Any:
        """The model, nodes sorted, with the constants that are read."""
        model = self._onnx.ModelProto()
        model.CopyFrom(self._model)
        graph = model.graph
        del graph.node[:], graph.initializer[:], graph.value_info[:]
        nodes = self._sorted()
        if grids_as_identity:
            nodes = [self._onnx.helper.make_node("Identity", [n.input[0]], list(n.output)) if n.op_type == GRID else n for n in nodes]
        graph.node.extend(nodes)
        read = {name for node in nodes for name in (*node.input, *_captured(node))} | set(self.outputs)
        domains = {node.domain for node in nodes if node.domain} - {item.domain for item in model.opset_import}
        model.opset_import.extend(self._onnx.helper.make_opsetid(domain, 1) for domain in sorted(domains))
        for name, array in self.constants.items():
            if name in read:
                graph.initializer.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name))
        return model

    def _index(self, node: Any) -> None:
        self._nodes[id(node)] = node
        for name in node.input:
            if name:
                self._readers.setdefault(name, {})[id(node)] = node
        for name in node.output:
            self._producer[name] = node

    def _sorted(self) -> list[Any]:
        done = {*self.inputs, *self.constants, ""}
        ordered, stack = [], [(node, False) for node in reversed(list(self))]
        seen: set[int] = set()
        while stack:
            node, entered = stack.pop()
            if entered:
                ordered.append(node)
                done.update(node.output)
            elif id(node) not in seen:
                seen.add(id(node))
                stack.append((node, True))
                sources = [self.producer(name) for name in (*node.input, *_captured(node)) if name not in done]
                stack.extend((source, False) for source in sources if source is not None and id(source) not in seen)
        known = set(done)
        lost = [name for node in ordered for name in node.input if name not in known]
        if lost:
            raise ExportError(f"the ONNX graph lost the value {lost[0]!r} while it was rewritten; please report the model")
        return ordered


def _captured(node: Any) -> set[str]:
    """Values that the bodies of a branch or loop read from outside."""
    found: set[str] = set()
    for attribute in node.attribute:
        for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            made = {name for inner in body.node for name in inner.output} | {item.name for item in (*body.input, *body.initializer)}
            read = {name for inner in body.node for name in (*inner.input, *_captured(inner))} | {item.name for item in body.output}
            found |= read - made
    return found
