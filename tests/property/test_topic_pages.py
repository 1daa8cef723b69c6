"""kproxy before a broker that allows everything answers each page as a broker with ACLs would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.desk import Desk
from tests.support.topic_pages import Catalogue, asking
from tests.unit.test_api_topic_pages import ask

NAMES = [f"t{letter}" for letter in "abcdefgh"]
DESCRIBE = 1 << 8


@given(topics=st.dictionaries(st.sampled_from(NAMES), st.integers(1, 4)), visible=st.sets(st.sampled_from(NAMES)),
       named=st.lists(st.sampled_from(NAMES), max_size=6), limit=st.integers(-1, 9),
       cursor=st.none() | st.tuples(st.sampled_from([*NAMES, "", "t", "tbb", "z"]), st.integers(-1, 4)))
def test_a_page_is_that_of_a_broker_with_acls(topics: dict[str, int], visible: set[str], named: list[str], limit: int,
                                              cursor: tuple[str, int] | None) -> None:
    asked = asking(*named, limit=limit, cursor=cursor)
    free = Catalogue(topics)
    found = ask(Desk(*(f"describe topic {name}" for name in visible)), free, asked)
    wanted = Catalogue(topics, visible.__contains__, DESCRIBE).page(asked)
    for answer in (found, wanted):
        answer["topics"] = sorted(answer["topics"], key=lambda one: str(one["name"]))
    assert found == wanted
    assert {one["name"] for sent in free.asked for one in sent["topics"]} <= visible
