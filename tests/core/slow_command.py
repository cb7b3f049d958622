"""The command line with a merge in small pieces, slowly, so that a test can interrupt it."""

from __future__ import annotations

import sys
import time

from merge_core.__main__ import main
from merge_core.engine import output
from merge_core.streaming import pieces
from merge_core.streaming.pieces import Piece

if __name__ == "__main__":
    pieces.PIECE = pieces.CHUNK = 1 << 14
    finish = output.OutputFolder.finish

    def finish_slowly(self: output.OutputFolder, piece: Piece, nbytes: int) -> None:
        time.sleep(0.1)
        finish(self, piece, nbytes)

    output.OutputFolder.finish = finish_slowly  # type: ignore[method-assign]
    sys.exit(main())
