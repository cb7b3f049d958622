"""What a recipe says: the user's intent, with nothing opened yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from merge_core.methods import Parameter
from merge_core.recipe.reference import ModelRef
from merge_core.recipe.resolve import Scalar, Setting, depth, resolve

Settings = Mapping[str, Setting]


@dataclass(frozen=True)
class ModelEntry:
    """One model to merge and its own parameters."""

    ref: ModelRef
    parameters: Settings = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """The layers `first … stop−1` of every model, with parameters that hold for them alone.

    Args:
        first, stop: the layers, as in `range`.
        parameters: for all models.
        models: for one model; a model without any is left out.
    """

    first: int
    stop: int
    parameters: Settings = field(default_factory=dict)
    models: Mapping[ModelRef, Settings] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A merge as its author wrote it.

    Args:
        method: a name in `METHODS`.
        base: the model that task vectors are taken from; None for methods that need none.
        models: what is merged, in order; never the base itself for methods that work on task vectors.
        parameters: what holds where nothing nearer says otherwise.
        dtype, out_dtype: "float32" | "float16" | "bfloat16" | None.
        tokenizer_source: "base" | "union" | a model | None.
        chat_template: a template's name or its text.
        slices: cover every layer once and in order; empty where the recipe has `models`.
        notes: what was read and set aside, in words for a person.
    """

    method: str
    base: ModelRef | None
    models: tuple[ModelEntry, ...]
    parameters: Settings = field(default_factory=dict)
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer_source: str | None = None
    chat_template: str | None = None
    slices: tuple[Slice, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def refs(self) -> tuple[ModelRef, ...]:
        """Every model the recipe names: the base first, then the others in order, none twice."""
        base = () if self.base is None else (self.base,)
        return tuple(dict.fromkeys((*base, *(entry.ref for entry in self.models))))

    @cached_property
    def uniform(self) -> bool:
        """Whether every parameter is one value for all tensors."""
        said = (self.parameters, *(entry.parameters for entry in self.models))
        return not self.slices and not any(isinstance(v, tuple) for own in said for v in own.values())

    def value(
        self, parameter: Parameter, *, model: ModelRef | None, tensor: str, layer: int | None, layers: int
    ) -> Scalar | None:
        """What `parameter` is for one tensor of one model, its default where the recipe says nothing.

        Args:
            model: None for what holds for all models.
            tensor: its name, which filters are looked up in.
            layer, layers: the tensor's layer and the number of layers of its stack, for gradients and slices.

        Returns:
            None where neither the recipe nor the method has a value for this tensor.
        """
        part = self.slice_of(tensor, layer)
        at = depth(layer, part.first, part.stop) if part else depth(layer, 0, layers)
        for settings in self._levels(model, part):
            setting = settings.get(parameter.name)
            if setting is not None and (found := resolve(setting, tensor, at)) is not None:
                return found
        return parameter.default

    def _levels(self, model: ModelRef | None, part: Slice | None) -> tuple[Settings, ...]:
        """Parameters that apply, nearest first."""
        own = self._entries.get(model, {}) if model else {}
        if part is None:
            return own, self.parameters
        return (part.models.get(model, {}) if model else {}), part.parameters, self.parameters

    def slice_of(self, tensor: str, layer: int | None) -> Slice | None:
        """The slice whose parameters hold for a tensor of that layer; None in a recipe without slices."""
        if not self.slices:
            return None
        if layer is not None:
            return next((part for part in self.slices if part.first <= layer < part.stop), self.slices[-1])
        return self.slices[0 if _precedes_layers(tensor) else -1]

    @cached_property
    def _entries(self) -> dict[ModelRef | None, Settings]:
        return {entry.ref: entry.parameters for entry in self.models}


def _precedes_layers(tensor: str) -> bool:
    """True for embeddings: they take the first slice's parameters, norm and head the last one's."""
    return any(word in tensor for word in ("embed", "wte", "wpe")) and "embed_out" not in tensor
