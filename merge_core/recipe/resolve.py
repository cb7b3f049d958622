"""What a parameter's setting is worth for one tensor: filters and gradients, as mergekit resolves them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

Scalar = float | int | bool | str
Gradient = tuple[float, ...]


@dataclass(frozen=True)
class Filtered:
    """One rule of a setting: a value for the tensors whose name contains `filter`.

    Args:
        value: one value, or a gradient over depth.
        filter: substring of the tensor name; None or "*" is every tensor.
    """

    value: Scalar | Gradient
    filter: str | None = None

    @property
    def matches_all(self) -> bool:
        """True for a rule without a filter."""
        return self.filter is None or self.filter == "*"


Setting = Scalar | Gradient | tuple[Filtered, ...]


def depth(layer: int | None, first: int, stop: int) -> float:
    """Position of a layer from the first (0) to the last (1) of `range(first, stop)`; 0 outside the layers.

    A single layer is at 1, as in mergekit.
    """
    if layer is None:
        return 0.0
    if stop - first <= 1:
        return 1.0
    return min(1.0, max(0.0, (layer - first) / (stop - first - 1)))


def interpolate(gradient: Gradient, at: float) -> float:
    """The gradient of n numbers at depth `at` in [0, 1]: linear at `at`·(n−1)."""
    scaled = at * (len(gradient) - 1)
    left = int(scaled)
    right = min(len(gradient) - 1, left + 1)
    share = scaled - left
    return (1 - share) * gradient[left] + share * gradient[right]


def resolve(setting: Setting, tensor: str, at: float) -> Scalar | None:
    """The value of `setting` for a tensor at depth `at`; None where none of its filters matches."""
    if not isinstance(setting, tuple):
        return setting
    if not isinstance(setting[0], Filtered):
        return interpolate(setting, at)
    for rule in setting:
        assert isinstance(rule, Filtered)
        if rule.matches_all or (rule.filter or "") in tensor:
            return interpolate(rule.value, at) if isinstance(rule.value, tuple) else rule.value
    return None


def values(setting: Setting) -> tuple[Scalar, ...]:
    """Every value written in a setting, whatever its filter or depth."""
    if not isinstance(setting, tuple):
        return (setting,)
    found: list[Scalar] = []
    for part in setting:
        found.extend(values(part.value) if isinstance(part, Filtered) else (part,))
    return tuple(found)


def is_constant(setting: Setting) -> bool:
    """True where every tensor gets the same value."""
    if isinstance(setting, tuple) and isinstance(setting[0], Filtered):
        first = setting[0]
        return first.matches_all and is_constant(first.value)
    return len(set(values(setting))) == 1


def varies(setting: Setting) -> bool:
    """True for a setting with rules or a gradient."""
    return isinstance(setting, tuple)


def unmatched_filters(setting: Setting, tensors: Iterable[str]) -> tuple[str, ...]:
    """The filters of a setting that are part of no tensor's name."""
    rules = [part for part in setting if isinstance(part, Filtered)] if isinstance(setting, tuple) else []
    return tuple(
        rule.filter or ""
        for rule in rules
        if not rule.matches_all and not any((rule.filter or "") in name for name in tensors)
    )
