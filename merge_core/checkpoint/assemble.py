"""Headers and an index → one set of tensors, where each was said to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from merge_core.checkpoint.files import INDEX
from merge_core.checkpoint.safetensors import TensorSpec
from merge_core.errors import UserError


def assemble(
    ref: str, files: Iterable[Iterable[TensorSpec]], weight_map: Mapping[str, str] | None = None
) -> dict[str, TensorSpec]:
    """Every tensor by name.

    Args:
        ref: the model's name, for errors.
        files: the tensors of each weight file.
        weight_map: what the index says; None without one. A tensor that it leaves out counts all the same.

    Raises:
        UserError: two files hold one tensor, or the index and the files disagree.
    """
    specs: dict[str, TensorSpec] = {}
    for found in files:
        for spec in found:
            if spec.name in specs:
                raise UserError(
                    f"{ref}: both {specs[spec.name].file!r} and {spec.file!r} hold the tensor {spec.name[:120]!r}.",
                    "Keep one model per folder.",
                )
            specs[spec.name] = spec
    for name, file in (weight_map or {}).items():
        if name not in specs or specs[name].file != file:
            where = f"in {specs[name].file!r}" if name in specs else "nowhere"
            raise UserError(
                f"{ref}: {INDEX} has the tensor {name[:120]!r} in {file!r}; it is {where}.",
                "Download or save the model again.",
            )
    return specs
