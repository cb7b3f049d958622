"""Linear merging, also called weight averaging or model soup."""

from __future__ import annotations

from merge_core.methods.declaration import method
from merge_core.methods.operations import weighted_mean
from merge_core.methods.parameters import Normalize, Vectors, Weight


@method(title="Linear", reference="Wortsman et al. 2022, arXiv:2203.05482")
def linear(theta: Vectors, *, weight: Weight, normalize: Normalize = True) -> Vectors:
    """Average the models' weights."""
    return weighted_mean(theta, weight, float(weight.sum()) if normalize else 1.0)
