"""Recipe → MergePlan: open the models, check them and the room they need, and only then download."""

from merge_core.prepare.affordable import affordable_needs, require_room_for
from merge_core.prepare.recipe_to_plan import fetch, open_all, open_fitting, pinned, prepare

__all__ = ["affordable_needs", "fetch", "open_all", "open_fitting", "pinned", "prepare", "require_room_for"]
