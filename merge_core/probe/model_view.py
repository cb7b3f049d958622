"""The files of a model that transformers gets to see: weights, configuration, tokenizer; no code, adapter or pickle."""

from __future__ import annotations

import tempfile
from pathlib import Path

from merge_core.checkpoint import Checkpoint
from merge_core.checkpoint.files import INDEX, SINGLE


def model_view(checkpoint: Checkpoint) -> tempfile.TemporaryDirectory[str]:
    """A folder of links to the files that count, which are those that a merge of this model would take over.

    Args:
        checkpoint: a model on this machine.
    """
    root = checkpoint.root
    assert root is not None
    weights = sorted({spec.file for spec in checkpoint.specs.values()})
    links = {name: name for name in checkpoint.files}
    if len(weights) == 1 and not (root / INDEX).exists():
        links[SINGLE] = weights[0]
    else:
        links |= {name: name for name in (*weights, INDEX)}
    view = tempfile.TemporaryDirectory(prefix="tiebreak-")
    for name, file in links.items():
        link = Path(view.name, name)
        link.parent.mkdir(exist_ok=True)
        link.symlink_to((root / file).resolve())
    return view
