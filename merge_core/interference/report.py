"""What an inspection found: small enough to send whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from merge_core.errors import UserError
from merge_core.kernels.elections import EVERY


@dataclass(frozen=True)
class TensorElections:
    """Who survives the trim of one tensor, and who is outvoted in the recipe's own election, as its weights vote.

    Per model in the report's order, per density of the report's `coarse`; sums to seven digits.

    Args:
        election: by what the sign is elected, as a recipe spells it.
        kept: survivors.
        kept_mass, kept_energy: their Σ|τ̂| and Σ τ̂². √(kept_energy / energy) is the cosine between τ̂ and τ, and the
            share of its norm that τ̂ has.
        outvoted: Σ|τ̂| of the survivors that lose. Both masses are as trimmed, and restored where the recipe says
            `rescale`; a merge adds up these times the models' weights. Over the sum of kept_mass, both so weighed: the
            mass lost to the election.
        lowest: the power of two that the first of `magnitudes` begins at; −127 holds zeros too.
        magnitudes: entries with 2^b ≤ |τ| < 2^(b + 1), for b from `lowest` on, before any trim.
    """

    election: str
    kept: tuple[tuple[int, ...], ...]
    kept_mass: tuple[tuple[float, ...], ...]
    kept_energy: tuple[tuple[float, ...], ...]
    outvoted: tuple[tuple[float, ...], ...]
    lowest: int
    magnitudes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class TensorInterference:
    """Where task vectors meet in one tensor.

    Args:
        name: the tensor's name.
        layer, module, stack: where it lies; see `merge_core.network.layers`.
        numel: how many entries it has.
        touched: per density of the grid, entries where at least one task vector survives the trim.
        contested: … where at least two do.
        conflicted: … where survivors of both signs meet.
        energy: per model Σ τ², before the trim; None in a report that does not hold it, and so are the next four.
        base_energy: Σ θ0².
        inner: per pair of the report's `pairs`, Σ τa·τb.
        same, both: per pair, entries where both are nonzero and of one sign, and where both are nonzero.
        elections: where asked for.
        sampled: how many entries were read, where the counts are estimates; else None, and so are the bounds.
        touched_low, touched_high, …: 95 % bounds of the counts; equal to them where all entries were read.
        of_touched_low, …: 95 % bounds of the share in conflict of the touched, and of the contested, to seven digits: 0
            and 1 where none of them was met. They are closer than those of the two counts tell.
    """

    name: str
    layer: int | None
    module: str
    stack: str
    numel: int
    touched: tuple[int, ...]
    contested: tuple[int, ...]
    conflicted: tuple[int, ...]
    energy: tuple[float, ...] | None = None
    base_energy: float | None = None
    inner: tuple[float, ...] | None = None
    same: tuple[int, ...] | None = None
    both: tuple[int, ...] | None = None
    elections: TensorElections | None = None
    sampled: int | None = None
    touched_low: tuple[int, ...] | None = None
    touched_high: tuple[int, ...] | None = None
    contested_low: tuple[int, ...] | None = None
    contested_high: tuple[int, ...] | None = None
    conflicted_low: tuple[int, ...] | None = None
    conflicted_high: tuple[int, ...] | None = None
    of_touched_low: tuple[float, ...] | None = None
    of_touched_high: tuple[float, ...] | None = None
    of_contested_low: tuple[float, ...] | None = None
    of_contested_high: tuple[float, ...] | None = None


@dataclass(frozen=True)
class PairAgreement:
    """How alike two task vectors are.

    Args:
        a, b: the models.
        cosine: of the angle between their untrimmed task vectors; None where one is zero.
        sign_agreement: share of equal signs among the entries where both are nonzero; None where there are none.
        cosine_low, …: 95 % bounds, where they are estimates from a sample; else None.
    """

    a: str
    b: str
    cosine: float | None
    sign_agreement: float | None
    cosine_low: float | None = None
    cosine_high: float | None = None
    sign_agreement_low: float | None = None
    sign_agreement_high: float | None = None


@dataclass(frozen=True)
class ModelNorm:
    """How far a fine-tune moved: ‖τ‖, and ‖τ‖ / ‖θ0‖ (None for a base of zeros).

    norm_low and norm_high are 95 % bounds of ‖τ‖, where it is an estimate from a sample, and relative_low and
    relative_high those of the ratio; else None.
    """

    model: str
    norm: float
    relative: float | None
    norm_low: float | None = None
    norm_high: float | None = None
    relative_low: float | None = None
    relative_high: float | None = None


@dataclass(frozen=True)
class InterferenceReport:
    """Counts, norms and pairs of one recipe; models in the recipe's order."""

    models: tuple[str, ...]
    density: tuple[float, ...]
    tensors: tuple[TensorInterference, ...]
    pairs: tuple[PairAgreement, ...]
    norms: tuple[ModelNorm, ...]

    @property
    def coarse(self) -> tuple[float, ...]:
        """The densities of what is told about elections: every fifth."""
        return self.density[EVERY - 1 :: EVERY]

    @property
    def sampled(self) -> bool:
        """Whether its numbers are estimates from part of the weights."""
        return any(t.sampled is not None for t in self.tensors)

    def to_json(self) -> dict[str, Any]:
        """As plain data for `json.dumps`."""
        return {
            "models": list(self.models),
            "density": list(self.density),
            "tensors": [_plain(t) for t in self.tensors],
            "pairs": [_plain(p) for p in self.pairs],
            "norms": [_plain(n) for n in self.norms],
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
                tensors=tuple(TensorInterference(**_frozen(t)) for t in data["tensors"]),
                pairs=tuple(PairAgreement(**p) for p in data["pairs"]),
                norms=tuple(ModelNorm(**n) for n in data["norms"]),
            )
        except (KeyError, TypeError) as error:
            raise UserError(
                f"This is no interference report: {error}.", "Make one with `inspect --json`."
            ) from None


def _plain(row: Any) -> dict[str, Any]:
    """A row's fields; those that only some reports have are left out where they are None."""
    optional = {f.name for f in fields(row) if f.default is None}
    return {
        name: _plain(value) if is_dataclass(value) else _lists(value)
        for name, value in vars(row).items()
        if value is not None or name not in optional
    }


def _frozen(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {name: _tuples(value) for name, value in row.items()}
    if isinstance(found.get("elections"), Mapping):
        found["elections"] = TensorElections(**_frozen(found["elections"]))
    return found


def _lists(value: Any) -> Any:
    return [_lists(each) for each in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(each) for each in value) if isinstance(value, list) else value
