"""`python -m merge_core.kernels` compiles every kernel once, so that no user waits for it."""

from __future__ import annotations

from merge_core.kernels.compilation import announce_compilation
from merge_core.kernels.warming import warm

warm()
announce_compilation()
