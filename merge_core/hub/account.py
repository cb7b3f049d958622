"""Whose account this is, and where it may publish."""

from __future__ import annotations

from merge_core.hub.session import Session

_WRITING = ("admin", "write", "contributor")


def namespaces(session: Session) -> tuple[str, ...]:
    """The account's own name, then the organisations in which it may make repositories.

    Raises:
        UserError: nobody is signed in, or the Hub cannot be asked.
    """
    with session.explained(session.about(writing=True)):
        found = session.retried(session.api.whoami)
    organisations = [
        each["name"]
        for each in found.get("orgs") or []
        if isinstance(each.get("name"), str) and each.get("roleInOrg", "write") in _WRITING
    ]
    return (found["name"], *organisations)
