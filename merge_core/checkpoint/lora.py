"""LoRA adapters in PEFT's form: which tensors of a base they change, and by what, from headers and settings alone.

An adapted model is never made: its entries are computed where they are read, see `merge_core.checkpoint.low_rank`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from merge_core.checkpoint.checkpoint import Adapted, Checkpoint, LowRank
from merge_core.checkpoint.module_pattern import ModulePattern
from merge_core.checkpoint.safetensors import TensorSpec
from merge_core.errors import UserError

FLOATS = ("F64", "F32", "F16", "BF16")
LONGEST_NAME = 400  # characters; patterns are tried on names, and both are strangers'
MOST_PATTERNS = 1000
_PREFIX = "base_model.model."
_LORA = re.compile(r"(?P<module>.+)\.lora_(?P<part>A|B)\.(?:default\.)?weight")
_EMBEDDING = re.compile(r"(?P<module>.+)\.lora_embedding_(?P<part>A|B)(?:\.default)?")
_WRAPPED = re.compile(r"\.(?:modules_to_save(?:\.default)?|base_layer)(?=\.)")
# Architectures whose linear layers are stored as inputs × outputs, which PEFT knows and need not write down.
_STORED_TRANSPOSED = ("gpt2", "openai-gpt", "ctrl", "imagegpt", "decision_transformer")
# They change the base before training, so that B·A alone is not the difference.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")


def adapt(base: Checkpoint, adapter: Checkpoint, ref: str) -> Checkpoint:
    """The base with an adapter applied.

    Args:
        base: an opened model.
        adapter: an opened adapter: its tensors, and its `adapter_config.json` as `config`.
        ref: how the recipe spells the two together.

    Raises:
        UserError: the adapter is of a kind that is not applied, or was made for a model with other tensors.
    """
    _require_lora(adapter)
    factors, whole = _sorted(adapter)
    deltas, strange = {}, []
    targets = _Targets(base)
    transposed = _is_transposed(base, adapter, factors, targets)
    alphas = _Alphas(adapter)
    for module, (a, b, embeds) in factors.items():
        target = targets.get(f"{module}.weight")
        if target is None:
            strange.append(module)
            continue
        delta = LowRank(a, b, alphas.scale(module, a.shape[0]), transposed or embeds)
        _require_shape(base, adapter, target, delta)
        deltas[target.name] = delta
    replaced = {}
    for name, spec in whole.items():
        target = targets.get(name)
        if target is None:
            strange.append(name)
        else:
            replaced[target.name] = replace(spec, name=target.name)
    if strange:
        trained_on = adapter.config.get("base_model_name_or_path")
        named = (
            f" It was trained on {str(trained_on)[:120]}."
            if isinstance(trained_on, str) and trained_on
            else ""
        )
        more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
        raise UserError(
            f"{adapter.ref} changes {strange[0][:120]!r}{more}, which {base.ref} does not have.{named}",
            "Apply an adapter to the model that it was trained on.",
        )
    both = json_digest(base.identity, adapter.identity)
    here = base.root is not None and adapter.root is not None
    return replace(
        base,
        ref=ref,
        root=base.root if here else None,
        specs={**base.specs, **replaced},
        identity=both,
        gated=base.gated or adapter.gated,
        adapted=Adapted(base, adapter, deltas),
    )


def json_digest(*identities: str) -> str:
    """One identity out of several."""
    return hashlib.sha256("\n".join(identities).encode()).hexdigest()


def _require_lora(adapter: Checkpoint) -> None:
    """Refuse what would have to be applied otherwise than by B·A."""
    config = adapter.config
    kind = config.get("peft_type")
    found = None
    if kind != "LORA":
        found = f"is an adapter of type {str(kind)[:40]}"
    elif config.get("use_dora"):
        found = "is a DoRA adapter, which also rescales the columns of its weights"
    elif config.get("bias", "none") != "none" or config.get("lora_bias"):
        found = "trains biases, which belong to no weight of its own"
    elif config.get("layer_replication"):
        found = "repeats layers of its base"
    elif config.get("use_qalora") or config.get("alora_invocation_tokens"):
        found = "is applied while the model runs, and has no merged form"
    elif str(config.get("init_lora_weights", "")).lower().startswith(_CHANGES_BASE):
        how = str(config["init_lora_weights"])[:40]
        found = f"was begun by {how}, which changes the base as well"
    if found:
        raise UserError(
            f"{adapter.ref} {found}. Tiebreak applies plain LoRA adapters.",
            "Merge it into its base with PEFT's merge_and_unload, and name the result here.",
        )


Factors = dict[str, tuple[TensorSpec, TensorSpec, bool]]


def _sorted(adapter: Checkpoint) -> tuple[Factors, dict[str, TensorSpec]]:
    """(A, B and whether it is an embedding, by module; tensors that replace the base's, by name)."""
    halves: dict[tuple[str, bool], dict[str, TensorSpec]] = {}
    whole: dict[str, TensorSpec] = {}
    for name, spec in adapter.specs.items():
        inner = name.removeprefix(_PREFIX)
        linear, embedding = _LORA.fullmatch(inner), _EMBEDDING.fullmatch(inner)
        if len(name) > LONGEST_NAME:
            raise UserError(
                f"{adapter.ref}: a tensor's name is longer than {LONGEST_NAME} characters: {name[:60]!r}….",
                "Pick another adapter: no module is called so.",
            )
        if spec.dtype not in FLOATS:
            raise UserError(
                f"{adapter.ref}: {name[:120]!r} has dtype {spec.dtype}; read are {', '.join(FLOATS)}.",
                "Pick an adapter in 16 or 32 bits.",
            )
        if found := linear or embedding:
            halves.setdefault((found["module"], embedding is not None), {})[found["part"]] = spec
        elif inner == name or re.search(r"\.(lora_|token_adapter|trainable_tokens)", inner):
            raise UserError(
                f"{adapter.ref} holds {name[:120]!r}, which is no weight of a plain LoRA adapter.",
                "Merge it into its base with PEFT's merge_and_unload, and name the result here.",
            )
        else:
            whole[_WRAPPED.sub("", inner)] = spec
    factors: Factors = {}
    for (module, embeds), parts in halves.items():
        if parts.keys() != {"A", "B"}:
            missing = ({"A", "B"} - parts.keys()).pop()
            raise UserError(
                f"{adapter.ref} lacks lora_{missing} of {module[:120]!r}.",
                "Download or save the adapter again.",
            )
        factors[module] = (parts["A"], parts["B"], embeds)
    if not factors and not whole:
        raise UserError(f"{adapter.ref} has no tensors.", "Pick an adapter with safetensors weights.")
    return factors, whole


class _Targets:
    """The base's tensors by what an adapter calls them; the two may differ by how the outermost module is called."""

    def __init__(self, base: Checkpoint) -> None:
        self._specs = base.specs
        self._inner: dict[str, TensorSpec | None] = {}
        for name, spec in base.specs.items():
            inner = name.partition(".")[2]
            self._inner[inner] = None if inner in self._inner else spec

    def get(self, name: str) -> TensorSpec | None:
        """The tensor that an adapter calls `name`; None where there is none, or more than one."""
        return self._specs.get(name) or self._specs.get(name.partition(".")[2]) or self._inner.get(name)


def _is_transposed(base: Checkpoint, adapter: Checkpoint, factors: Factors, targets: _Targets) -> bool:
    """Whether the base stores its linear layers as inputs × outputs."""
    if adapter.config.get("fan_in_fan_out") or base.config.get("model_type") in _STORED_TRANSPOSED:
        return True
    for module, (a, b, embeds) in factors.items():
        target = targets.get(f"{module}.weight")
        if target is not None and not embeds and len(target.shape) == 2:
            straight, turned = (b.shape[0], a.shape[-1]), (a.shape[-1], b.shape[0])
            if straight != turned:  # a square layer does not tell
                return target.shape == turned
    return False


def _require_shape(base: Checkpoint, adapter: Checkpoint, target: TensorSpec, delta: LowRank) -> None:
    """Refuse factors whose product is not of the shape of the tensor that they change."""
    a, b = delta.a.shape, delta.b.shape
    sound = len(a) == len(b) and len(a) >= 2 and a[0] == b[1] and math.prod(b[2:]) == 1 and a[0] > 0
    made = (a[1], b[0]) if delta.transposed and len(a) == 2 else (b[0], *a[1:])
    if not sound or target.dtype not in FLOATS or (delta.transposed and len(a) != 2) or made != target.shape:
        raise UserError(
            f"{adapter.ref}: lora_A {a} and lora_B {b} do not make a change of {target.name[:120]!r}, which has shape "
            f"{target.shape} in {base.ref}.",
            "Apply an adapter to the model that it was trained on.",
        )


class _Alphas:
    """How much each module's product counts, as PEFT reads its settings."""

    def __init__(self, adapter: Checkpoint) -> None:
        self._ref = adapter.ref
        self._root = bool(adapter.config.get("use_rslora"))
        self._alpha = self._number("lora_alpha", adapter.config.get("lora_alpha", 8))
        stated = adapter.config.get("alpha_pattern") or {}
        if not isinstance(stated, Mapping) or len(stated) > MOST_PATTERNS:
            raise self._wrong("alpha_pattern", stated)
        self._patterns = [
            (self._pattern(key), self._number("alpha_pattern", value)) for key, value in stated.items()
        ]

    def scale(self, module: str, rank: int) -> float:
        """What B·A is multiplied by. The rank is that of the factors, which rank_pattern gave them."""
        alpha = next((a for pattern, a in self._patterns if pattern.matches(module)), self._alpha)
        return alpha / (math.sqrt(rank) if self._root else rank)

    def _pattern(self, key: str) -> ModulePattern:
        try:
            return ModulePattern(key)
        except ValueError:
            raise self._wrong("alpha_pattern", key) from None

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self._wrong(name, value)
        return float(value)

    def _wrong(self, name: str, value: object) -> UserError:
        return UserError(
            f"{self._ref}: adapter_config.json: {name} is {str(value)[:80]!r}, which Tiebreak cannot read.",
            "Merge the adapter into its base with PEFT's merge_and_unload, and name the result here.",
        )


def parts_of(checkpoint: Checkpoint) -> Iterator[Checkpoint]:
    """What lies on a disk or a Hub of its own: an adapted model's base and its adapter, or the model itself."""
    if checkpoint.adapted is None:
        yield checkpoint
    else:
        yield from (checkpoint.adapted.base, checkpoint.adapted.adapter)


def is_adapter(checkpoint: Checkpoint) -> bool:
    """True for an adapter as it is stored, which is no model by itself."""
    return "peft_type" in checkpoint.config
