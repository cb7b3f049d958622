"""The command line with a merge in small pieces, slowly, so that a test can interrupt it."""

from __future__ import annotations

import sys
import time

from merge_core import output, vectors
from merge_core.__main__ import main
from merge_core.vectors import Piece

if __name__ == "__main__":
    vectors.PIECE = vectors.CHUNK = 1 << 14
    finish = output.OutputFolder.finish

    def finish_slowly(self: output.OutputFolder, piece: Piece, nbytes: int) -> None:
        time.sleep(0.1)
        finish(self, piece, nbytes)

    output.OutputFolder.finish = finish_slowly  # type: ignore[method-assign]
    sys.exit(main())
