"""The one place that talks to the Hub: find, read headers, download, publish."""

from merge_core.hub.client import HubClient
from merge_core.hub.publish import Published
from merge_core.hub.search import FoundModel

__all__ = ["FoundModel", "HubClient", "Published"]
