"""What the models' norms and angles give reason to look into, as the page says it."""

from __future__ import annotations

from collections.abc import Sequence

from merge_core.interference import InterferenceReport
from merge_core.interference.warnings import warnings_of


def model_warnings(report: InterferenceReport, names: Sequence[str]) -> list[str]:
    """One sentence or two per finding.

    Args:
        report: of one inspection.
        names: of the report's models, as the page calls them.
    """
    called = dict(zip(report.models, names, strict=True))
    return [warning.message for warning in warnings_of(report, called)]
