"""What an inspection found: small enough to send whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from merge_core.errors import UserError


@dataclass(frozen=True)
class TensorInterference:
    """Where task vectors meet in one tensor.

    Args:
        name: the tensor's name.
        layer, module, stack: where it lies; see `merge_core.layers`.
        numel: how many entries it has.
        touched: per density of the grid, entries where at least one task vector survives the trim.
        contested: … where at least two do.
        conflicted: … where survivors of both signs meet.
    """

    name: str
    layer: int | None
    module: str
    stack: str
    numel: int
    touched: tuple[int, ...]
    contested: tuple[int, ...]
    conflicted: tuple[int, ...]


@dataclass(frozen=True)
class PairAgreement:
    """How alike two task vectors are.

    Args:
        a, b: the models.
        cosine: of the angle between their untrimmed task vectors; None where one is zero.
        sign_agreement: share of equal signs among the entries where both are nonzero; None where there are none.
    """

    a: str
    b: str
    cosine: float | None
    sign_agreement: float | None


@dataclass(frozen=True)
class ModelNorm:
    """How far a fine-tune moved: ‖τ‖, and ‖τ‖ / ‖θ0‖ (None for a base of zeros)."""

    model: str
    norm: float
    relative: float | None


@dataclass(frozen=True)
class InterferenceReport:
    """Counts, norms and pairs of one recipe; models in the recipe's order."""

    models: tuple[str, ...]
    density: tuple[float, ...]
    tensors: tuple[TensorInterference, ...]
    pairs: tuple[PairAgreement, ...]
    norms: tuple[ModelNorm, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data for `json.dumps`."""
        return {
            "models": list(self.models),
            "density": list(self.density),
            "tensors": [{**vars(t), **{k: list(getattr(t, k)) for k in _CURVES}} for t in self.tensors],
            "pairs": [dict(vars(p)) for p in self.pairs],
            "norms": [dict(vars(n)) for n in self.norms],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> InterferenceReport:
        """The report that `to_json` wrote.

        Raises:
            UserError: `data` is no report.
        """
        try:
            return cls(
                models=tuple(data["models"]),
                density=tuple(data["density"]),
                tensors=tuple(
                    TensorInterference(**{**t, **{k: tuple(t[k]) for k in _CURVES}}) for t in data["tensors"]
                ),
                pairs=tuple(PairAgreement(**p) for p in data["pairs"]),
                norms=tuple(ModelNorm(**n) for n in data["norms"]),
            )
        except (KeyError, TypeError) as error:
            raise UserError(
                f"This is no interference report: {error}.", "Make one with `inspect --json`."
            ) from None


_CURVES = ("touched", "contested", "conflicted")
