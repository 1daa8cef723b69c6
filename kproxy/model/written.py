"""How a value is written in the files that people write, where its type does not say so.

Fields of ``settings`` and ``policy`` carry these marks; scripts/reference.py makes the tables of keys in docs/ of them,
of the types and defaults, and of the text below each field. Nothing that runs reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final


@dataclass(frozen=True, kw_only=True)
class Written:
    """``kind`` in words; ``key`` where it is not the field's name: empty for a field that is no key, ``*`` for one
    whose own fields stand in its place; ``default`` where the field's own would not tell it (Markdown); ``part`` of
    the file it belongs to, in a struct with several; ``least`` and ``most`` as people write them."""

    kind: str | None = None
    key: str | None = None
    default: str | None = None
    part: str | None = None
    least: int | None = None
    most: int | None = None


#: A field that only the program knows.
NO_KEY: Final = Written(key="")

Duration = Annotated[float, Written(kind="duration")]
"""Seconds."""
Milliseconds = Annotated[float, Written(kind="milliseconds", least=1, most=2**31 - 1)]
"""Seconds; written in milliseconds, as Kafka does."""
Size = Annotated[int, Written(kind="size")]
"""Bytes."""
Path = Annotated[str, Written(kind="path")]
Secret = Annotated[str, Written(kind="secret")]
Pattern = Annotated[str, Written(kind="pattern")]
"""A glob of names."""
Address = Annotated[tuple[str, int], Written(kind="address")]
