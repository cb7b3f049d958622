"""Parameters that several methods share, so that each means the same everywhere."""

from __future__ import annotations

from typing import Annotated, Any

from merge_core.methods.declaration import Field

# Values a method receives: float32 [models, n] for vectors, float64 [models] for per-model parameters.
Vectors = Any
PerModel = Any

Normalize = Annotated[
    bool,
    Field("Normalize", "Divide by the sum of the weights, so that the result keeps the scale of one model."),
]
Scale = Annotated[
    float, Field("Scale λ", "Multiplies the merged task vector before it is added to the base.", -10, 10)
]
Weight = Annotated[
    PerModel,
    Field("Weight", "How much this model counts.", per_model=True, required=True),
]
