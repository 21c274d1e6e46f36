"""One training step of a whole model on symbolic tapes: what each moment holds beside weights and optimiser states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmkit.model.attention import CrossAttention, EncoderAttention, FullAttention, SlidingAttention
from fmkit.sizing.training.block import FLOAT32, BlockProgram, Setting, Shape
from fmkit.sizing.training.styles import Style, style_of
from fmkit.sizing.training.tape import Tape, Value, Weight

if TYPE_CHECKING:
    from fmkit.model.spec import Block, ModelSpec, Stack


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Tokens of a batch: sequences, and tokens of each in the decoder and in the encoder."""

    sequences: int
    tokens: int
    encoder_tokens: int


@dataclass(frozen=True, kw_only=True)
class Types:
    """Element widths: of weights, of the stream between blocks, of products under autocast (None without)."""

    weight_bytes: int
    stream_bytes: int
    autocast_bytes: int | None


@dataclass(kw_only=True)
class Piece:
    """Blocks of one kind, or an end of the model: `count` times what one leaves behind, needs in backward, and gives.

    `saved_bytes` stay from forward to backward, `peak_bytes` is the most held while one runs backwards (what it saved
    included), `forward_bytes` the most while it runs forwards, `gradient_bytes` what backward leaves.
    """

    name: str
    count: int
    saved_bytes: int
    peak_bytes: int
    gradient_bytes: int
    forward_bytes: int = 0


@dataclass(kw_only=True)
class Walk:
    """All pieces in the order of the forward pass, and bytes held from the first to the last."""

    pieces: list[Piece] = field(default_factory=list)
    constant_bytes: int = 0
    known: bool = True

    @property
    def saved_bytes(self) -> int:
        """What the forward pass leaves behind."""
        return self.constant_bytes + sum(piece.count * piece.saved_bytes for piece in self.pieces)

    @property
    def forward_peak(self) -> int:
        """Most bytes held in the forward pass."""
        before, peak = self.constant_bytes, 0
        for piece in self.pieces:
            before += piece.count * piece.saved_bytes
            peak = max(peak, before, before - piece.saved_bytes + piece.forward_bytes)
        return peak

    @property
    def backward_peak(self) -> tuple[int, int, str]:
        """Most bytes held in backward, how many of them are gradients of weights already made, and where that is.

        In a run of equal blocks the sum of what is still saved and of gradients made is linear: its ends are looked at.
        """
        saved, gradients = self.saved_bytes, 0
        peak, made, where = 0, 0, ""
        for piece in reversed(self.pieces):
            for number in {1, piece.count}:
                before = saved - number * piece.saved_bytes
                after = gradients + (number - 1) * piece.gradient_bytes
                if before + after + piece.peak_bytes > peak:
                    peak, made, where = before + after + piece.peak_bytes, after, piece.name
            saved -= piece.count * piece.saved_bytes
            gradients += piece.count * piece.gradient_bytes
        return peak, made, where


class Passes:
    """Builds the walk of a model."""

    def __init__(self, spec: ModelSpec, batch: Batch, types: Types, setting: Setting, *, checkpointing: bool) -> None:
        self.spec = spec
        self.batch = batch
        self.types = types
        self.setting = setting
        self.checkpointing = checkpointing

    def walk(self) -> Walk:
        """The pieces of the model: each stack's embedding and blocks, then the head with the loss."""
        walk = Walk()
        decoder = self.spec.cached_stack
        encoder = self.spec.stack("encoder") if decoder is not None else None
        memory_rows = 0
        if encoder is not None:
            memory_rows = self.batch.sequences * self.batch.encoder_tokens
            self._stack(walk, encoder, self.batch.encoder_tokens, 0)
        self._stack(walk, decoder or self.spec.stacks[0], self.batch.tokens, memory_rows)
        self._head(walk, decoder or self.spec.stacks[0])
        return walk

    def _tape(self) -> Tape:
        return Tape(autocast_bytes=self.types.autocast_bytes)

    def _stream(self, elements: int, *, requires_grad: bool = True) -> Value:
        return Value(elements, self.types.stream_bytes, requires_grad=requires_grad)

    def _stack(self, walk: Walk, stack: Stack, tokens: int, memory_rows: int) -> None:
        rows = self.batch.sequences * tokens
        style, known = _style(self.spec, stack, stack.blocks[0])
        walk.known = walk.known and known
        walk.constant_bytes += self._constants(stack, style, tokens)
        walk.pieces.append(self._embedding(stack, style, rows))
        for number, block in enumerate(stack.blocks):
            count = block.count
            if number == 0 and not self.setting.trained:
                walk.pieces.append(self._blocks(stack, block, 1, tokens, memory_rows, followed=False))
                count -= 1
            if count:
                walk.pieces.append(self._blocks(stack, block, count, tokens, memory_rows, followed=True))
        if memory_rows == 0 and self.spec.cached_stack is not stack and self.spec.cached_stack is not None:
            walk.pieces.append(self._memory(stack, style, rows))

    def _constants(self, stack: Stack, style: Style, tokens: int) -> int:
        """Cos and sin of the positions, and masks that are made once."""
        mixers = [block.mixer for block in stack.blocks]
        total = 0
        if style.rotary != "none":
            dims = max((mixer.key_dim for mixer in mixers if isinstance(mixer, FullAttention)), default=0)
            total += 2 * tokens * dims * self.types.stream_bytes
        if self.setting.eager or not style.fused_attention:
            # only a checkpoint holds the mask of numbers: a sum saves neither side
            total += 0 if not self.checkpointing else tokens * tokens * self.types.stream_bytes * self.batch.sequences
        elif any(_masked(mixer, tokens) for mixer in mixers):
            total += tokens * tokens
        return total

    def _embedding(self, stack: Stack, style: Style, rows: int) -> Piece:
        """Embeddings: BERT's and BART's norm, the dropout's mask; backward makes the gradient of each table."""
        tape = self._tape()
        x = self._stream(rows * stack.hidden_dim, requires_grad=self.setting.trained)
        out = x
        if style.order == "post":
            out = tape.record(self._stream(x.elements), (x,), (x, Value(2 * rows, FLOAT32)))
        if style.dropout:
            out = tape.dropout(out, 0 if self.setting.on_cpu else 1)
        saved = tape.saved_bytes()
        if not self.setting.trained:
            return Piece(name="embedding", count=1, saved_bytes=0, peak_bytes=0, gradient_bytes=0)
        first = self.spec.cached_stack is None or stack is self.spec.cached_stack or self.spec.stack("encoder") is stack
        table = _table_elements(self.spec, "embedding") * self.types.weight_bytes if first else 0
        tied = _largest_table(self.spec) * self.types.weight_bytes
        doubled = tied if self.spec.tied_head else 0
        shared = self.spec.stack("encoder") is not None and self.spec.cached_stack is stack
        gradient = 0 if self.spec.tied_head and table else table
        if shared:
            gradient = 0
        return Piece(
            name="embedding",
            count=1,
            saved_bytes=saved,
            peak_bytes=max(tape.backward_peak(out), out.bytes + table, table + doubled),
            gradient_bytes=gradient,
        )

    def _memory(self, stack: Stack, style: Style, rows: int) -> Piece:
        """The encoder's last norm and its output, which every layer of the decoder reads."""
        tape = self._tape()
        shape = _shape(stack, stack.blocks[0], self.batch.sequences, rows, 0)
        x = self._stream(rows * stack.hidden_dim)
        out = x if style.order == "post" else BlockProgram(tape, shape, style, self.setting).norm(x)
        return Piece(
            name="encoder output",
            count=1,
            saved_bytes=tape.saved_bytes() + out.bytes,
            peak_bytes=tape.backward_peak(out) + out.bytes,
            gradient_bytes=tape.parameter_bytes,
        )

    def _blocks(
        self, stack: Stack, block: Block, count: int, tokens: int, memory_rows: int, *, followed: bool
    ) -> Piece:
        """`count` equal blocks; `followed` is False for the first block of a frozen model, whose input has no gradient."""
        style, _ = _style(self.spec, stack, block)
        rows = self.batch.sequences * tokens
        shape = _shape(stack, block, self.batch.sequences, rows, memory_rows // self.batch.sequences)
        tape = self._tape()
        x = self._stream(rows * stack.hidden_dim, requires_grad=followed)
        memory = self._stream(memory_rows * stack.hidden_dim) if memory_rows else None
        out = BlockProgram(tape, shape, style, self.setting).run(x, memory)
        elsewhere = (memory,) if memory is not None else ()
        if not self.checkpointing:
            # the gradient of the encoder's output is held while the decoder runs backwards
            waiting = memory.bytes if memory is not None else 0
            return Piece(
                name="block",
                count=count,
                saved_bytes=tape.saved_bytes(besides=elsewhere),
                peak_bytes=tape.backward_peak(out, besides=elsewhere) + waiting,
                gradient_bytes=tape.parameter_bytes,
                forward_bytes=tape.forward_peak(besides=elsewhere),
            )
        return Piece(
            name="block",
            count=count,
            saved_bytes=x.bytes,
            peak_bytes=max(
                tape.backward_peak(out, besides=(x, *elsewhere)) + x.bytes,
                tape.forward_peak(besides=elsewhere) + tape.waiting_bytes(out),
            ),
            gradient_bytes=tape.parameter_bytes,
        )

    def _head(self, walk: Walk, stack: Stack) -> None:
        """The last norm, the head and the cross-entropy over the vocabulary."""
        style, _ = _style(self.spec, stack, stack.blocks[0])
        rows = self.batch.sequences * self.batch.tokens
        shape = _shape(stack, stack.blocks[0], self.batch.sequences, rows, 0)
        tape = self._tape()
        program = BlockProgram(tape, shape, style, self.setting)
        x = self._stream(rows * stack.hidden_dim)
        inside = x if style.order == "post" else program.norm(x)
        if not self.spec.has_head or not self.spec.vocab_size:
            walk.pieces.append(
                Piece(
                    name="output", count=1, saved_bytes=tape.saved_bytes(), peak_bytes=tape.backward_peak(inside),
                    gradient_bytes=tape.parameter_bytes,
                )
            )  # fmt: skip
            return
        if style.order == "post" and self.spec.kind == "encoder":
            inside = program.prediction_transform(inside)
        walk.pieces.append(self._loss(tape, program, style, inside, rows))

    def _loss(self, tape: Tape, program: BlockProgram, style: Style, inside: Value, rows: int) -> Piece:
        vocab = self.spec.vocab_size or 0
        hidden = program.shape.hidden
        if style.dropout and style.norm == "t5":
            inside = tape.dropout(inside, 0 if self.setting.on_cpu else 1)
        if style.norm == "t5":
            inside = tape.scale(inside)
        weight = Weight(vocab * hidden, self.types.weight_bytes, self.setting.trained)
        logits = tape.linear(inside, rows * vocab, weight)
        if style.softcap:
            logits = tape.scale(tape.from_output(tape.scale(logits)))
        if style.biased_logits and self.types.autocast_bytes:
            logits = tape.cast(logits, FLOAT32)
        autocast = self.types.autocast_bytes is not None
        if autocast and not self.setting.on_cpu and not style.float_loss and logits.element_bytes < FLOAT32:
            # the GPU's softmax reads 16 bit and writes float32 in one go
            wide = logits
            scores = Value(logits.elements, FLOAT32)
            tape.record(scores, (logits,), (scores,))
        else:
            wide = tape.cast(logits, FLOAT32) if style.float_loss or autocast else logits
            scores = tape.from_output(wide)
        before = tape.saved_bytes()
        return Piece(
            name="loss",
            count=1,
            saved_bytes=before,
            peak_bytes=tape.backward_peak(scores),
            gradient_bytes=tape.parameter_bytes,
            forward_bytes=before + logits.bytes + (wide.bytes if wide is not logits else 0),
        )


def _style(spec: ModelSpec, stack: Stack, block: Block) -> tuple[Style, bool]:
    gated = block.mlp is not None and block.mlp.gated
    return style_of(stack.implementation or spec.model_type, gated=gated)


def _shape(stack: Stack, block: Block, sequences: int, rows: int, memory_tokens: int) -> Shape:
    mixer, mlp = block.mixer, block.mlp
    assert isinstance(mixer, FullAttention | EncoderAttention | CrossAttention)
    return Shape(
        rows=rows,
        sequences=sequences,
        hidden=stack.hidden_dim,
        query=mixer.query_heads * mixer.key_dim,
        key=mixer.kv_heads * mixer.key_dim,
        heads=mixer.query_heads,
        kv_heads=mixer.kv_heads,
        inner=mlp.ffn_dim if mlp is not None else 0,
        gated=mlp is not None and mlp.gated,
        masked=_masked(mixer, rows // sequences),
        experts=mlp.experts if mlp is not None else 0,
        active=mlp.experts_per_token if mlp is not None else 0,
        shared=mlp.shared_ffn_dim if mlp is not None else 0,
        memory_tokens=memory_tokens,
    )


def _masked(mixer: object, tokens: int) -> bool:
    """Whether attention needs an explicit mask: a window that the sequence reaches."""
    return isinstance(mixer, SlidingAttention) and tokens >= mixer.window_tokens


def _table_elements(spec: ModelSpec, part: str) -> int:
    return sum(group.elements for group in spec.tensors if group.part == part)


def _largest_table(spec: ModelSpec) -> int:
    return max((group.elements for group in spec.tensors if group.part == "embedding"), default=0)
