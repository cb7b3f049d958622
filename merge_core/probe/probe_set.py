"""What a probe is, what a kind of probe has to offer, and what measuring gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from merge_core.probe.fields import Fields
from merge_core.probe.local_model import Head, LocalModel
from merge_core.probe.work import Work


@dataclass(frozen=True)
class ProbeResult:
    """One model measured on one probe by one metric.

    Args:
        probe: the probe's name.
        metric: "accuracy", "accuracy per byte" or "bits per byte"; of the last, less is better.
        score: accuracies from 0 to 1.
        low, high: ends of the 95 % interval.
        n: items measured.
    """

    probe: str
    metric: str
    score: float
    low: float
    high: float
    n: int


class Kind(Protocol):
    """One kind of probe. Each is a class without state in a file of its own."""

    @property
    def name(self) -> str:
        """How a header spells it."""

    @property
    def head(self) -> Head:
        """What kind of model can answer it."""

    @property
    def least_items(self) -> int:
        """How few items it can do with."""

    @property
    def has_labels(self) -> bool:
        """Whether the header lists classes."""

    def read(self, fields: Fields, labels: tuple[str, ...]) -> Any:
        """One item from its line.

        Raises:
            UserError: the line is no item of this kind.
        """

    def check(self, model: LocalModel, probe: ProbeSet) -> None:
        """Find out from the model's small files alone whether it can answer.

        Raises:
            UserError: it cannot.
        """

    def measure(self, model: LocalModel, probe: ProbeSet, work: Work) -> list[ProbeResult]:
        """Let the model answer every item.

        Raises:
            UserError: it fails at one.
            Cancelled: the work is to stop.
        """


@dataclass(frozen=True)
class ProbeSet:
    """A probe file that has been read and checked.

    Args:
        name: as its header says.
        kind: what its items are and how they are answered.
        labels: the classes that occur; empty for kinds without.
        items: as the kind's `read` made them.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    items: tuple[Any, ...]
