"""Building the tensor groups of a model, so that a lineage's file reads like the model's own code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fmkit.model.spec import TensorGroup

if TYPE_CHECKING:
    from fmkit.model.spec import Module, Part


class Tensors:
    """The tensors of a model, or of one module of it: `at` opens a module, the other methods add its tensors.

    >>> model = Tensors()
    >>> layer = model.at("layers.*", count=2)
    >>> layer.linear("q_proj", 8, 4, part="attention", bias=True)
    >>> [(group.name, group.shape, group.count) for group in model.groups()]
    [('layers.*.q_proj.weight', (8, 4), 2), ('layers.*.q_proj.bias', (8,), 2)]
    """

    def __init__(self) -> None:
        self._groups: list[TensorGroup] = []
        self._prefix = ""
        self._count = 1
        self._part: Part | None = None
        self._quantisable = True
        self._keeps_float32 = False
        self._dtype: str | None = None

    def at(
        self,
        name: str,
        *,
        count: int = 1,
        part: Part | None = None,
        quantisable: bool = True,
        keeps_float32: bool = False,
        dtype: str | None = None,
    ) -> Tensors:
        """The module `name`, of which there are `count`.

        `part` overrides the part of everything inside (a vision tower is one part); `quantisable=False`,
        `keeps_float32` (which implies it) and `dtype` hold for everything inside, too.
        """
        inner = Tensors()
        inner._groups = self._groups
        inner._prefix = f"{self._prefix}{name}." if name else self._prefix
        inner._count = self._count * count
        inner._part = part or self._part
        inner._keeps_float32 = self._keeps_float32 or keeps_float32
        inner._quantisable = self._quantisable and quantisable and not keeps_float32
        inner._dtype = dtype or self._dtype
        return inner

    def linear(
        self, name: str, outputs: int, inputs: int, *, part: Part, bias: bool = False, quantisable: bool = True
    ) -> None:
        """A torch.nn.Linear: weight [outputs, inputs], and a bias.

        `quantisable=False` for one that bitsandbytes in transformers 5.23 leaves alone: a subclass, a last module, or
        one named in `_keep_in_fp32_modules`.
        """
        self._add(f"{name}.weight", part, "linear", (outputs, inputs), quantisable=quantisable)
        if bias:
            self._add(f"{name}.bias", part, "linear", (outputs,), quantisable=quantisable)

    def linear_bias(self, name: str, outputs: int, *, part: Part) -> None:
        """The bias of a torch.nn.Linear whose weight is tied to another tensor."""
        self._add(f"{name}.bias", part, "linear", (outputs,))

    def conv1d(self, name: str, inputs: int, outputs: int, *, part: Part) -> None:
        """GPT-2's Conv1D: a linear layer with its weight transposed, [inputs, outputs], and a bias."""
        self._add(f"{name}.weight", part, "conv1d", (inputs, outputs))
        self._add(f"{name}.bias", part, "conv1d", (outputs,))

    def conv(self, name: str, shape: tuple[int, ...], *, part: Part, bias: bool = False) -> None:
        """A convolution: weight [out channels, in channels, kernel...], and a bias."""
        self._add(f"{name}.weight", part, "conv", shape)
        if bias:
            self._add(f"{name}.bias", part, "conv", shape[:1])

    def conv_bias(self, name: str, outputs: int, *, part: Part) -> None:
        """The bias of a convolution whose weight is held in other parameters."""
        self._add(f"{name}.bias", part, "conv", (outputs,))

    def embedding(self, name: str, rows: int, dim: int, *, part: Part = "embedding") -> None:
        """A torch.nn.Embedding."""
        self._add(f"{name}.weight", part, "embedding", (rows, dim))

    def norm(self, name: str, *shape: int, bias: bool = False, count: int = 1) -> None:
        """A norm: RMSNorm without a bias, LayerNorm with one."""
        self._add(f"{name}.weight", "norm", "norm", shape, count=count)
        if bias:
            self._add(f"{name}.bias", "norm", "norm", shape, count=count)

    def parameter(
        self, name: str, shape: tuple[int, ...], *, part: Part, active: int | None = None, inputs_first: bool = False
    ) -> None:
        """A bare parameter, such as the fused weights of all experts, `active` of which run for one token."""
        self._add(name, part, "parameter", shape, active=active, inputs_first=inputs_first)

    def buffer(self, name: str, shape: tuple[int, ...], *, dtype: str | None) -> None:
        """A buffer; `dtype` None where it follows the model's type."""
        self._groups.append(
            TensorGroup(
                name=f"{self._prefix}{name}",
                part="buffer",
                module="buffer",
                shape=shape,
                count=self._count,
                dtype=dtype,
            )
        )

    def groups(self) -> tuple[TensorGroup, ...]:
        """All tensors added, equal ones summed."""
        counts: dict[TensorGroup, int] = {}
        for group in self._groups:
            one = msgspec.structs.replace(group, count=1)
            counts[one] = counts.get(one, 0) + group.count
        return tuple(msgspec.structs.replace(one, count=count) for one, count in counts.items())

    def _add(
        self,
        name: str,
        part: Part,
        module: Module,
        shape: tuple[int, ...],
        *,
        count: int = 1,
        active: int | None = None,
        quantisable: bool = True,
        inputs_first: bool = False,
    ) -> None:
        total = self._count * count
        if total == 0:
            return
        self._groups.append(
            TensorGroup(
                name=f"{self._prefix}{name}",
                part=self._part or part,
                module=module,
                shape=shape,
                count=total,
                active=active,
                dtype=self._dtype,
                quantisable=self._quantisable and quantisable,
                keeps_float32=self._keeps_float32,
                inputs_first=inputs_first,
            )
        )
