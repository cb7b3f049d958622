"""A worker whose merges go in small pieces and slowly, so that a test can stop one half way. It notes each piece.

Arguments: the file for the notes, seconds per piece, then those of `merge_core.jobs.worker`.
"""

from __future__ import annotations

import os
import sys
import time

from merge_core.engine import output
from merge_core.jobs import worker
from merge_core.streaming import pieces
from merge_core.streaming.pieces import Piece

if __name__ == "__main__":
    notes, pause = sys.argv[1], float(sys.argv[2])
    pieces.PIECE = pieces.CHUNK = 1 << 14
    output.COMMIT_BYTES = 1
    finish = output.OutputFolder.finish

    def finish_slowly(self: output.OutputFolder, piece: Piece, nbytes: int) -> None:
        time.sleep(pause)
        finish(self, piece, nbytes)
        with open(notes, "a") as file:
            file.write(f"{os.getpid()} {piece.tensor} {piece.start}\n")

    output.OutputFolder.finish = finish_slowly  # type: ignore[method-assign]
    sys.exit(worker.main(sys.argv[3:]))
