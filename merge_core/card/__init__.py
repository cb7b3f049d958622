"""Everything that is known about a merge, as the model card that is published with it."""

from merge_core.card.document import model_card

__all__ = ["model_card"]
