"""What the page stands on: where things lie, whose jobs, whether this is a Space."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from merge_core.checkpoint import Checkpoint
from merge_core.errors import UserError
from merge_core.home import home, on_space
from merge_core.hub import HubClient
from merge_core.jobs import JobStore
from merge_core.prepare.opening import open_checkpoint
from merge_core.recipe import ModelRef, Recipe

ROOT = Path(__file__).resolve().parents[1]
DEMO = Path(
    "assets/demo"
)  # below ROOT, which is the working directory: recipes in links must not name this machine

_HUB_NAME = re.compile(r"\w[\w.-]*(?:/\w[\w.-]*)?")


@dataclass(frozen=True)
class Workspace:
    """Made once by `app.py`, passed to every component.

    Args:
        store: the jobs.
        on_space: True on a Space, where strangers may not name folders of the machine.
    """

    store: JobStore
    on_space: bool

    def demo_recipe(self) -> str:
        """The recipe the page opens with, as YAML."""
        return (ROOT / DEMO / "recipe.yml").read_text()

    def demo_models(self) -> tuple[ModelRef, ...]:
        """Models that come with the program."""
        folders = sorted((ROOT / DEMO / "models").iterdir()) if (ROOT / DEMO / "models").is_dir() else []
        return tuple(ModelRef(str(DEMO / "models" / f.name)) for f in folders if f.is_dir())

    def check_reach(self, recipe: Recipe) -> None:
        """Refuse folders of this machine to visitors of a Space; the demo models are everybody's.

        Raises:
            UserError: names the model.
        """
        if not self.on_space:
            return
        demo = set(self.demo_models())
        for ref in recipe.refs():
            if ref not in demo and not all(_only_on_the_hub(part) for part in (ref.path, ref.lora) if part):
                raise UserError(
                    f"{ref} is a folder, and folders of this server are not open to visitors.",
                    "Use a model from the Hub, or run Tiebreak on your own machine.",
                )

    def open(self, recipe: Recipe, hub: HubClient) -> dict[ModelRef, Checkpoint | UserError]:
        """Every model's headers, or why they cannot be read. Asks the Hub only for models that are there."""
        return {ref: _open(ref, hub) for ref in recipe.refs()}


def _open(ref: ModelRef, hub: HubClient) -> Checkpoint | UserError:
    try:
        return open_checkpoint(ref, hub)
    except UserError as error:
        return error


def _only_on_the_hub(name: str) -> bool:
    """True for `owner/name[@revision]` where no folder goes by that name."""
    path = name.partition("@")[0]
    return bool(_HUB_NAME.fullmatch(path)) and not Path(path).exists() and not Path(name).exists()


def open_workspace() -> Workspace:
    """The workspace as the environment sets it: TIEBREAK_HOME holds the jobs, SPACE_ID marks a Space."""
    return Workspace(JobStore(home()), on_space=on_space())
