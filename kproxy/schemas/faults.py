"""What is wrong with a schema, and the tables that are made of it."""

from __future__ import annotations

from kproxy.model.value_schema import MOST_MEMBERS, MOST_NODES, Node


class BadSchema(ValueError):
    """A schema that cannot be read. The text says why, and quotes nothing but names of the schema."""


class Table:
    """Nodes as they are found: a place can be taken before what stands there is known."""

    def __init__(self) -> None:
        self._nodes: list[Node | None] = []
        self._plain: dict[Node, int] = {}
        self._members = 0

    def take(self) -> int:
        """A place for a type that may be named before it was read."""
        if len(self._nodes) >= MOST_NODES:
            raise BadSchema(f"the schema has more than {MOST_NODES} types")
        self._nodes.append(None)
        return len(self._nodes) - 1

    def put(self, place: int, node: Node) -> int:
        self._members += len(node.members) + len(node.symbols) + len(node.branches)
        if self._members > MOST_MEMBERS:
            raise BadSchema(f"the schema has more than {MOST_MEMBERS} fields and symbols")
        self._nodes[place] = node
        return place

    def add(self, node: Node) -> int:
        """The place of a type without a name: one for all that are alike."""
        known = self._plain.get(node)
        if known is None:
            known = self._plain[node] = self.put(self.take(), node)
        return known

    def node(self, place: int) -> Node | None:
        return self._nodes[place]

    def whole(self) -> tuple[Node, ...]:
        """Raises BadSchema where a place was taken and nothing was put there."""
        if None in self._nodes:
            raise BadSchema("the schema names a type that it does not declare")
        return tuple(node for node in self._nodes if node is not None)


def as_tags(written: object) -> tuple[str, ...]:
    """A list of texts, as ``confluent:tags`` has them; anything else gives no tags."""
    if not isinstance(written, list | tuple):
        return ()
    return tuple(tag for tag in written if isinstance(tag, str))
