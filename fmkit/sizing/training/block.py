"""The program of one transformer block: the operations of its forward pass, in order, on a symbolic tape."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from fmkit.sizing.training.tape import Tape, Value, Weight

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmkit.sizing.training.styles import Style

FLOAT32 = 4


class Shape(NamedTuple):
    """What a block is made of: tokens of all sequences, their number, and the widths.

    `inner` is the feed-forward's width, 0 without one; `experts` and `active` count those of a mixture, `shared` is the
    width of the experts every token passes; `memory_tokens` are the encoder's tokens that cross-attention reads, 0
    without.
    """

    rows: int
    sequences: int
    hidden: int
    query: int
    key: int
    heads: int
    kv_heads: int
    inner: int
    gated: bool
    masked: bool = False
    experts: int = 0
    active: int = 0
    shared: int = 0
    memory_tokens: int = 0


class Setting(NamedTuple):
    """How it is trained: bytes of a weight, whether the base is trained, adapters, the machine and the attention.

    `adapted` are the roles of projections with an adapter of `rank`; `unpacks` says that base weights are quantised.
    """

    weight_bytes: int
    trained: bool
    adapted: frozenset[str] = frozenset()
    rank: int = 0
    adapter_bytes: int = FLOAT32
    unpacks: bool = False
    on_cpu: bool = False
    eager: bool = False


class BlockProgram:
    """Runs a block on a tape. `memory` is the encoder's output for cross-attention."""

    def __init__(self, tape: Tape, shape: Shape, style: Style, setting: Setting) -> None:
        self.tape = tape
        self.shape = shape
        self.style = style
        self.setting = setting

    def run(self, x: Value, memory: Value | None = None) -> Value:
        """The block's output."""
        if self.style.parallel:
            return self._parallel(x)
        x = self._half(x, self._self_attention)
        if memory is not None:
            x = self._half(x, lambda inside: self._attend(inside, memory))
        if self.shape.inner:
            x = self._half(x, self._feed_forward)
        return x

    def _half(self, x: Value, body: Callable[[Value], Value]) -> Value:
        order = self.style.order
        inside = self.norm(x) if order in {"pre", "both"} else x
        given = inside
        inside = body(given)
        self.tape.hold(given)
        inside = self._dropout(inside)
        if order in {"both", "after"}:
            inside = self.norm(inside)
        total = self.tape.add(x, inside)
        return self.norm(total) if order == "post" else total

    def _parallel(self, x: Value) -> Value:
        """Attention and feed-forward read the input side by side."""
        inside = self.norm(x)
        attended = self._self_attention(inside)
        fed = self._feed_forward(inside if self.style.one_norm else self.norm(x))
        return self.tape.add(self.tape.add(attended, fed), x)

    def _dropout(self, x: Value) -> Value:
        return self.tape.dropout(x, self._mask_bytes) if self.style.dropout else x

    @property
    def _mask_bytes(self) -> int:
        """Bytes of an element of a dropout mask: 0 stands for the type of what is masked."""
        return 0 if self.setting.on_cpu else 1

    def norm(self, x: Value, rows: int | None = None) -> Value:
        """A norm over the hidden width, or over each of `rows` heads."""
        tape, width = self.tape, x.element_bytes
        rows = rows or self.shape.rows
        weight = self.shape.hidden * self.setting.weight_bytes if self.setting.trained else 0
        if self.style.norm == "layer":
            statistics = Value(2 * rows, FLOAT32)
            return tape.record(Value(x.elements, width), (x,), (x, statistics), parameter_bytes=weight)
        wide = tape.cast(x, FLOAT32)
        scale = self._inverse_deviation(wide, rows)
        if self.style.norm == "rms-float":
            weighed = tape.weigh(tape.multiply(wide, scale), weight)
            return tape.cast(weighed, width)
        if self.style.norm == "t5":
            return tape.weigh(tape.cast(tape.multiply(x, scale), self.setting.weight_bytes), weight)
        normal = tape.cast(tape.multiply(wide, scale), width)
        return tape.weigh(normal, weight, max(width, self.setting.weight_bytes))

    def _inverse_deviation(self, x: Value, rows: int) -> Value:
        squares = self.tape.from_input(x, temporaries=2)
        mean = self.tape.record(Value(rows, FLOAT32), (squares,))
        return self.tape.from_output(mean)

    def _project(self, x: Value, role: str, inside: int, outside: int, *, rows: int | None = None) -> Value:
        """A linear layer, with its adapter where there is one."""
        setting, tape = self.setting, self.tape
        rows = rows or self.shape.rows
        unpacked = inside * outside * x.element_bytes if setting.unpacks else 0
        weight = Weight(inside * outside, setting.weight_bytes, setting.trained, unpacked)
        base = tape.linear(x, rows * outside, weight)
        if role not in setting.adapted:
            return base
        width = base.element_bytes
        down = Weight(inside * setting.rank, setting.adapter_bytes, trained=True)
        up = Weight(outside * setting.rank, setting.adapter_bytes, trained=True)
        if setting.unpacks:
            base = tape.copy(base)
        narrow = tape.linear(tape.cast(x, setting.adapter_bytes), rows * setting.rank, down)
        change = tape.scale(tape.linear(narrow, rows * outside, up))
        result = tape.cast(tape.add(base, change), width)
        tape.hold(x)
        return result

    def _self_attention(self, x: Value) -> Value:
        shape, tape, style = self.shape, self.tape, self.style
        if style.fused_qkv:
            both = self._project(x, "qkv", shape.hidden, shape.query + 2 * shape.key)
            sizes = tuple(shape.rows * width for width in (shape.query, shape.key, shape.key))
            parts = (tape.slices if style.sliced_qkv else tape.split)(both, sizes)
        else:
            parts = (
                self._project(x, "q", shape.hidden, shape.query),
                self._project(x, "k", shape.hidden, shape.key),
                self._project(x, "v", shape.hidden, shape.key),
            )
        query, key, value = parts
        if style.qk_norm:
            per_head = style.order != "after"
            query = self.norm(query, shape.rows * (shape.heads if per_head else 1))
            key = self.norm(key, shape.rows * (shape.kv_heads if per_head else 1))
        if style.rotary != "none":
            query, key = self._rotate(query, x), self._rotate(key, x)
        return self._attention(query, key, value, shape.rows // shape.sequences, own=True)

    def _attend(self, x: Value, memory: Value) -> Value:
        """Cross-attention to the encoder's output."""
        shape = self.shape
        rows = shape.sequences * shape.memory_tokens
        query = self._project(x, "q", shape.hidden, shape.query)
        key = self._project(memory, "k", shape.hidden, shape.key, rows=rows)
        value = self._project(memory, "v", shape.hidden, shape.key, rows=rows)
        return self._attention(query, key, value, shape.memory_tokens)

    def _rotate(self, x: Value, stream: Value) -> Value:
        """Rotary positions: x * cos + rotated x * sin, in the type of the stream."""
        tape = self.tape
        turned = tape.scale(tape.copy(x))
        rotated = tape.add(tape.scale(x), turned)
        if self.style.rotary == "join":
            rotated = tape.copy(rotated)
        return tape.cast(rotated, max(x.element_bytes, stream.element_bytes))

    def _attention(self, query: Value, key: Value, value: Value, key_tokens: int, *, own: bool = False) -> Value:
        shape, tape, style, setting = self.shape, self.tape, self.style, self.setting
        if tape.autocast_bytes is not None:
            query, key, value = (tape.cast(part, tape.autocast_bytes) for part in (query, key, value))
        if setting.eager or not style.fused_attention:
            out = self._eager(query, key, value, key_tokens)
        elif self._falls_back(query):
            out = self._unfused(query, key, value, key_tokens)
        else:
            out = self._fused(query, key, value, biased=own and style.bias_per_head)
            out = tape.copy(out) if style.rotary == "join" else out
        return self._project(out, "o", shape.query, shape.hidden)

    def prediction_transform(self, x: Value) -> Value:
        """BERT's layer before the vocabulary: dense, GELU, norm."""
        width = self.shape.hidden
        return self.norm(self.tape.from_input(self._project(x, "transform", width, width)))

    def _falls_back(self, query: Value) -> bool:
        """Whether PyTorch has no fused kernel: on a CPU for dropout, on a GPU for float32 with shared key heads."""
        if self.setting.on_cpu:
            return self.style.attention_dropout
        return query.element_bytes == FLOAT32 and self.shape.kv_heads < self.shape.heads

    def _fused(self, query: Value, key: Value, value: Value, *, biased: bool = False) -> Value:
        """Flash attention keeps queries, keys, values, its output and one float32 per head and token.

        On a GPU its backward pass makes a float32 copy of the queries' gradient, and keys' and values' per query head.
        """
        saved: tuple[Value, ...] = ()
        if self.shape.masked:
            # with a mask, keys and values are repeated per query head, and each layer turns the mask into numbers
            tokens = self.shape.rows // self.shape.sequences
            saved = (Value(tokens * tokens, query.element_bytes),)
            key, value = self._repeated(key), self._repeated(value)
        inside = 0
        if biased:
            # T5's bias is copied in each layer, and its gradient is made for each sequence
            bias = Value(self.shape.heads * (self.shape.rows // self.shape.sequences) ** 2, query.element_bytes)
            saved = (*saved, bias)
            inside = bias.bytes * self.shape.sequences
        out = Value(query.elements, query.element_bytes)
        statistics = Value(self.shape.rows * self.shape.heads, FLOAT32)
        if not self.setting.on_cpu:
            inside += query.elements * FLOAT32
            inside += 2 * query.bytes if self.shape.kv_heads < self.shape.heads else 0
        saved = (*saved, query, key, value, out, statistics)
        return self.tape.record(out, (query, key, value), saved, temporary_bytes=inside)

    def _unfused(self, query: Value, key: Value, value: Value, key_tokens: int) -> Value:
        """What scaled_dot_product_attention does without a fused kernel: float32, queries and keys scaled first."""
        tape, width = self.tape, query.element_bytes
        query, key, value = (
            tape.cast(part, FLOAT32) for part in (query, self._repeated(key), self._repeated(self._flattened(value)))
        )
        scores = self.shape.heads * self.shape.rows * key_tokens
        query, key = tape.scale(query), tape.scale(key)
        weights = tape.from_output(tape.record(Value(scores, FLOAT32), (query, key), (query, key)))
        if self.style.attention_dropout:
            weights = tape.dropout(weights, self._mask_bytes)
        out = tape.record(Value(query.elements, FLOAT32), (weights, value), (weights, value))
        return tape.cast(tape.copy(out) if width == FLOAT32 else out, width)

    def _repeated(self, part: Value) -> Value:
        """Keys or values copied for each query head of their group."""
        groups = self.shape.heads // self.shape.kv_heads
        if groups == 1:
            return part
        repeated = self.tape.record(Value(part.elements * groups, part.element_bytes), (part,))
        if self.shape.kv_heads == 1:
            repeated.storage = part.storage  # one head is shown several times, not copied
        return repeated

    def _flattened(self, value: Value) -> Value:
        """A batched product copies a view that it can't flatten."""
        return self.tape.copy(value) if value.storage is not value and self.shape.sequences > 1 else value

    def _eager(self, query: Value, key: Value, value: Value, key_tokens: int) -> Value:
        tape, scores = self.tape, self.shape.heads * self.shape.rows * key_tokens
        width = query.element_bytes
        key, value = self._repeated(key), self._repeated(value)
        value = self._flattened(value)
        products = tape.scale(tape.record(Value(scores, width), (query, key), (query, key)))
        if self.style.softcap:
            products = tape.scale(tape.from_output(tape.scale(products)))
        wide = tape.from_output(tape.cast(products, FLOAT32))
        weights = tape.cast(wide, width)
        if self.style.attention_dropout:
            weights = tape.dropout(weights, self._mask_bytes)
        out = tape.record(Value(query.elements, width), (weights, value), (weights, value))
        return tape.copy(out)

    def _feed_forward(self, x: Value) -> Value:
        shape = self.shape
        if not shape.experts:
            return self._dense(x, shape.inner)
        mixed = self._experts(x)
        return self.tape.add(mixed, self._dense(x, shape.shared)) if shape.shared else mixed

    def _dense(self, x: Value, inner: int) -> Value:
        tape, hidden = self.tape, self.shape.hidden
        if self.shape.gated:
            if self.style.fused_gate:
                both = self._project(x, "gate_up", hidden, 2 * inner)
                gate, up = tape.split(both, (both.elements // 2, both.elements // 2))
            else:
                gate, up = self._project(x, "gate", hidden, inner), None
            active = self._activate(gate)
            if up is None:
                up = self._project(x, "up", hidden, inner)
            middle = tape.multiply(active, up)
        else:
            middle = self._activate(self._project(x, "up", hidden, inner))
        if self.style.inner_dropout:
            middle = tape.dropout(middle, self._mask_bytes)
        return self._project(middle, "down", inner, hidden)

    def _activate(self, x: Value) -> Value:
        tape = self.tape
        if self.style.activation == "relu":
            return tape.from_output(x)
        if self.style.activation == "quick-gelu":
            return tape.multiply(x, tape.from_output(tape.scale(x)))
        if self.style.activation == "gelu-new":
            # autocast on a GPU takes powers in float32
            wide = FLOAT32 if tape.autocast_bytes is not None and not self.setting.on_cpu else x.element_bytes
            cube = tape.scale(tape.from_input(tape.cast(x, wide), temporaries=2))
            inside = tape.from_output(tape.scale(tape.add(x, cube)))
            return tape.multiply(tape.scale(x), tape.scale(inside))
        return tape.from_input(x)

    def _experts(self, x: Value) -> Value:
        """Grouped matrix products: rows repeated per expert, sorted, weighted, put back and summed."""
        tape, shape, setting = self.tape, self.shape, self.setting
        rows, width = shape.rows * shape.active, x.element_bytes
        scores = self._project(x, "router", shape.hidden, shape.experts)
        chosen = tape.record(Value(rows, FLOAT32), (tape.from_output(tape.cast(scores, FLOAT32)),))
        routed = tape.record(Value(rows * shape.hidden, width), (x,))
        inner = shape.inner
        both = tape.linear(
            routed,
            rows * 2 * inner,
            Weight(shape.experts * 2 * inner * shape.hidden, setting.weight_bytes, setting.trained),
        )
        gate, up = tape.split(both, (both.elements // 2, both.elements // 2))
        middle = tape.multiply(tape.from_input(gate), up)
        out = tape.linear(
            middle,
            rows * shape.hidden,
            Weight(shape.experts * inner * shape.hidden, setting.weight_bytes, setting.trained),
        )
        weighted = tape.multiply(out, chosen)
        back = tape.copy(weighted)
        total = tape.record(Value(shape.rows * shape.hidden, back.element_bytes), (back,))
        return tape.cast(total, width)
