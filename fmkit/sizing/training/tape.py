"""A symbolic autograd tape: what PyTorch's operations make, save for backward and hold in backward, in bytes.

A block's program (`fmkit.sizing.training.block`) calls the operations in the order of the real code. `saved_bytes` is
then what the forward pass leaves behind, and `backward_peak` walks the operations back and returns the most held at
once. The rules of saving are those of PyTorch 2.13's derivatives; whole training steps are held against them in
tests/sizing/test_training.py.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple


class Value:
    """A tensor of the program: its elements, the bytes of one, whether a gradient flows to it. Told apart by identity.

    `storage` is the tensor whose memory it looks into: itself, unless it is a view.
    """

    __slots__ = ("element_bytes", "elements", "requires_grad", "storage")

    def __init__(self, elements: int, element_bytes: int, *, requires_grad: bool = False) -> None:
        self.elements = elements
        self.element_bytes = element_bytes
        self.requires_grad = requires_grad
        self.storage = self

    @property
    def bytes(self) -> int:
        """Bytes of its elements."""
        return self.elements * self.element_bytes


class Node(NamedTuple):
    """An operation as backward sees it.

    `temporary_bytes` are made and freed inside it, `parameter_bytes` stay as gradients of weights; `passes_on` hands
    the gradient itself on to its inputs (a sum), without a copy.
    """

    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    saved: tuple[Value, ...]
    temporary_bytes: int
    parameter_bytes: int
    passes_on: bool


class Weight(NamedTuple):
    """The weight of a matrix product: elements, bytes of one, whether it is trained, bytes unpacked for the product."""

    elements: int
    element_bytes: int
    trained: bool
    unpacked_bytes: int = 0


class Tape:
    """Records operations. `autocast_bytes` is the element width of matrix products under autocast, None without it."""

    def __init__(self, *, autocast_bytes: int | None = None) -> None:
        self.autocast_bytes = autocast_bytes
        self.nodes: list[Node] = []
        self._made: list[tuple[Value, tuple[Value, ...], int]] = []

    def record(
        self,
        output: Value,
        inputs: tuple[Value, ...],
        saved: tuple[Value, ...] = (),
        *,
        temporary_bytes: int = 0,
        parameter_bytes: int = 0,
        passes_on: bool = False,
    ) -> Value:
        """Add an operation; one that no gradient flows through is forgotten."""
        self._made.append((output, inputs, len(self.nodes)))
        followed = tuple(value for value in inputs if value.requires_grad)
        if followed or parameter_bytes:
            output.requires_grad = True
            self.nodes.append(Node(followed, (output,), saved, temporary_bytes, parameter_bytes, passes_on))
        return output

    def hold(self, x: Value) -> None:
        """A caller's name keeps `x` alive until here."""
        self._made.append((Value(0, 1), (x,), len(self.nodes)))

    def cast(self, x: Value, element_bytes: int) -> Value:
        """A copy in another type; the tensor itself where it has that type."""
        if x.element_bytes == element_bytes:
            return x
        return self.record(Value(x.elements, element_bytes), (x,))

    def copy(self, x: Value) -> Value:
        """A copy, as of a tensor that has to be contiguous."""
        return self.record(Value(x.elements, x.element_bytes), (x,))

    def add(self, a: Value, b: Value) -> Value:
        """A sum saves nothing, and its gradient is the gradient of both sides."""
        wide = max(a.element_bytes, b.element_bytes)
        return self.record(Value(a.elements, wide), (a, b), passes_on=True)

    def multiply(self, a: Value, b: Value) -> Value:
        """A product saves each side that the other's gradient needs; the smaller side is broadcast."""
        saved = (*((b,) if a.requires_grad else ()), *((a,) if b.requires_grad else ()))
        wide = max(a.element_bytes, b.element_bytes)
        output = Value(max(a.elements, b.elements), wide)
        reduced = output.bytes if min(a.elements, b.elements) < output.elements and b.requires_grad else 0
        return self.record(output, (a, b), saved, temporary_bytes=reduced)

    def scale(self, x: Value) -> Value:
        """A product with a number or with a constant: nothing that grows is saved."""
        return self.record(Value(x.elements, x.element_bytes), (x,))

    def weigh(self, x: Value, parameter_bytes: int, element_bytes: int | None = None) -> Value:
        """A product with one row of weights, which saves `x` where they are trained (`parameter_bytes` > 0)."""
        output = Value(x.elements, element_bytes or x.element_bytes)
        saved = (x,) if parameter_bytes else ()
        inside = output.bytes if parameter_bytes else 0
        return self.record(output, (x,), saved, temporary_bytes=inside, parameter_bytes=parameter_bytes)

    def from_input(self, x: Value, *, temporaries: int = 0) -> Value:
        """An elementwise function whose gradient needs its input: SiLU, GELU, powers."""
        return self.record(Value(x.elements, x.element_bytes), (x,), (x,), temporary_bytes=temporaries * x.bytes)

    def from_output(self, x: Value, *, temporaries: int = 0) -> Value:
        """An elementwise function whose gradient needs its output: tanh, ReLU, softmax."""
        output = Value(x.elements, x.element_bytes)
        return self.record(output, (x,), (output,), temporary_bytes=temporaries * x.bytes)

    def split(self, x: Value, elements: tuple[int, ...]) -> tuple[Value, ...]:
        """Views of a tensor: what keeps one of them keeps all of it. Backward joins their gradients."""
        views = tuple(Value(count, x.element_bytes, requires_grad=x.requires_grad) for count in elements)
        for view in views:
            view.storage = x.storage
        if x.requires_grad:
            self.nodes.append(Node((x,), views, (), 0, 0, passes_on=False))
        return views

    def slices(self, x: Value, elements: tuple[int, ...]) -> tuple[Value, ...]:
        """Views made by indexing: backward makes a tensor of the whole size for each, and adds them up."""
        return tuple(self.split(x, (count,))[0] for count in elements)

    def dropout(self, x: Value, mask_bytes: int) -> Value:
        """Dropout saves its mask: a byte an element in the fused kernel, the type of `x` on a CPU (`mask_bytes` 0)."""
        mask = Value(x.elements, mask_bytes or x.element_bytes)
        return self.record(Value(x.elements, x.element_bytes), (x,), (mask,))

    def linear(self, x: Value, elements: int, weight: Weight) -> Value:
        """A matrix product with a weight: saves its input if the weight is trained.

        Under autocast the input is cast, a copy of the weight stays until backward, and the copy's gradient is cast
        back.
        """
        width = x.element_bytes
        gradient = weight.elements * weight.element_bytes if weight.trained else 0
        copies: tuple[Value, ...] = ()
        if self.autocast_bytes is not None:
            width = self.autocast_bytes
            x = self.cast(x, width)
            if weight.element_bytes != width:
                copies = (Value(weight.elements, width),)
                if weight.trained:
                    gradient = copies[0].bytes
                    wider = weight.elements * weight.element_bytes - gradient
                    self.record(Value(0, width), (), temporary_bytes=gradient, parameter_bytes=wider)
        return self.record(
            Value(elements, width),
            (x,),
            (*((x,) if weight.trained else ()), *copies),
            temporary_bytes=weight.unpacked_bytes,
            parameter_bytes=gradient,
        )

    def saved_bytes(self, *, besides: tuple[Value, ...] = ()) -> int:
        """What forward leaves behind, each storage once; `besides` are counted elsewhere."""
        saved = {id(value.storage): value.storage.bytes for node in self.nodes for value in node.saved}
        return sum(saved.values()) - sum(saved.get(id(value.storage), 0) for value in besides)

    def forward_peak(self, *, besides: tuple[Value, ...] = ()) -> int:
        """Most bytes held at once while the program runs forwards: its input, what is saved so far, what is still to be read."""
        made = {id(output.storage) for output, _, _ in self._made}
        last = {id(value.storage): step for step, (_, inputs, _) in enumerate(self._made) for value in inputs}
        read = [value.storage for _, inputs, _ in self._made for value in inputs]
        held = {id(storage): storage.bytes for storage in read if id(storage) not in made}
        kept: set[int] = set()
        peak = nodes = 0
        elsewhere = {id(value.storage) for value in besides}
        for step, (output, _, before) in enumerate(self._made):
            held[id(output.storage)] = output.storage.bytes
            for node in self.nodes[nodes : before + 1]:
                saved = _storages(node)
                held |= saved
                kept |= saved.keys()
            nodes = before + 1
            peak = max(peak, sum(size for key, size in held.items() if key not in elsewhere))
            held = {key: size for key, size in held.items() if key in kept or last.get(key, step + 1) > step}
        return peak

    @property
    def parameter_bytes(self) -> int:
        """Gradients of the weights that the program trains."""
        return sum(node.parameter_bytes for node in self.nodes)

    def waiting_bytes(self, output: Value) -> int:
        """Gradients on their way when backward first asks for something saved: what recomputing begins with."""
        gradients = _Gradients(output)
        for node in reversed(self.nodes):
            if node.saved:
                break
            gradients.settle(node, gradients.through(node))
        return gradients.bytes

    def backward_peak(self, output: Value, *, besides: tuple[Value, ...] = ()) -> int:
        """Most bytes held at once while the program runs backwards, the gradient of `output` included.

        Counted are what is saved, gradients on their way, gradients of weights, and what one operation makes inside.
        """
        waiting = Counter(key for node in self.nodes for key in _storages(node))
        waiting.update(id(value.storage) for value in besides)
        gradients = _Gradients(output)
        held = self.saved_bytes(besides=besides)
        peak = held + gradients.bytes
        for node in reversed(self.nodes):
            made = gradients.through(node)
            held += node.parameter_bytes
            peak = max(peak, held + gradients.bytes + node.temporary_bytes)
            peak = max(peak, held + gradients.settle(node, made))
            for key, size in _storages(node).items():
                waiting[key] -= 1
                held -= size if not waiting[key] else 0
        return peak


def _storages(node: Node) -> dict[int, int]:
    """Bytes of each storage that a node saves."""
    return {id(value.storage): value.storage.bytes for value in node.saved}


class _Buffer:
    """Storage of a gradient, which several tensors may share."""

    __slots__ = ("bytes", "holders")

    def __init__(self, size: int) -> None:
        self.bytes = size
        self.holders = 1


class _Gradients:
    """The gradients on their way, and the bytes of their storage."""

    def __init__(self, output: Value) -> None:
        self.bytes = output.bytes
        self._of: dict[int, _Buffer] = {id(output): _Buffer(output.bytes)}

    def through(self, node: Node) -> list[_Buffer]:
        """Make the gradients of a node's inputs; a sum shares the one that comes in where the type is the same."""
        incoming = next((self._of[id(value)] for value in node.outputs if id(value) in self._of), None)
        if incoming is None:
            return []
        made = []
        for value in node.inputs:
            if node.passes_on and value.bytes == incoming.bytes:
                incoming.holders += 1
                made.append(incoming)
            else:
                made.append(_Buffer(value.bytes))
                self.bytes += value.bytes
        return made

    def settle(self, node: Node, made: list[_Buffer]) -> int:
        """Free what came in and add the new gradients to those already there, out of place; most bytes held meanwhile."""
        for output in node.outputs:
            incoming = self._of.pop(id(output), None)
            if incoming is not None:
                self._release(incoming)
        most = self.bytes
        for value, buffer in zip(node.inputs, made, strict=False):
            before = self._of.get(id(value))
            self._of[id(value)] = buffer
            if before is not None:
                self._of[id(value)] = _Buffer(value.bytes)
                self.bytes += value.bytes
                most = max(most, self.bytes)
                self._release(before)
                self._release(buffer)
        return most

    def _release(self, buffer: _Buffer) -> None:
        buffer.holders -= 1
        if not buffer.holders:
            self.bytes -= buffer.bytes
