"""Which rules are about a value, worked out from its whole path: the reference for the native matcher."""

from __future__ import annotations

from collections.abc import Sequence

Path = tuple[str, ...]
#: A place in a document: members' names, and None for each array passed through.
Place = tuple[str | None, ...]

_SOME_NAME = "\0"


def is_at(path: Path, place: Place) -> bool:
    """Whether the path is about the value at the place."""
    if not path:
        return not place
    step, rest = path[0], path[1:]
    if step == "**":
        if not rest:
            return len(place) > 0
        return is_at(rest, place) or (len(place) > 0 and is_at(path, place[1:]))
    if not place or step == "~":
        return False
    if step == "[*]":
        fits = place[0] is None
    elif step == "*":
        fits = place[0] is not None
    else:
        fits = place[0] == (step[1:] if step.startswith("\\") else step)
    return fits and is_at(rest, place[1:])


def rule_at(paths: Sequence[Path], place: Place) -> int | None:
    """The first path that is about the value at the place."""
    return next((number for number, path in enumerate(paths) if is_at(path, place)), None)


def hides_names(path: Path, place: Place) -> bool:
    """Whether the path is about the names of the members of the object at the place."""
    return path[-1:] == ("~",) and is_at((*path[:-1], _SOME_NAME), (*place, _SOME_NAME))


def is_kept(paths: Sequence[Path], place: Place) -> bool:
    """Whether the value at the place, or one that it stands in, is on the allow-list."""
    return any(is_at(path, place[:length]) for path in paths for length in range(len(place) + 1))
