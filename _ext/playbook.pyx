"""The session driven by hand: events in, actions out. For tests and for benches of the machine without its sockets.

Actions, in the order they would be carried out: ``("broker", bytes)``, ``("client", bytes)``, ``("wait", ticket)``,
``("held", frame)``, ``("close", cause)``.
"""
from libc.string cimport memcpy

from kproxy._ext.chunk cimport Chunk, take_chunk
from kproxy._ext.frame cimport FRAME, scan_frame
from kproxy._ext.session cimport CLOSED, HELD, STOP, Session


cdef list feed(Session session, bint from_client, bytes data, double now):
    """Whole frames only: what the protocol would cut out of its buffer."""
    cdef Chunk chunk = take_chunk(len(data))
    cdef Py_ssize_t at = 0, size = 0
    cdef int taken
    memcpy(chunk.data, <const char*>data, len(data))
    chunk.filled = len(data)
    held = []
    while at < chunk.filled:
        if scan_frame(chunk.data + at, chunk.filled - at, 1 << 30, &size) != FRAME:
            raise ValueError("a playbook feeds whole frames")
        if (session.waiting if from_client else session.answer_needs) is not None:
            held.append(("held", data[at:at + size]))
            at += size
            continue
        taken = session.client_frame(chunk, at, size, now) if from_client else session.broker_frame(chunk, at, size, now)
        if taken == STOP:
            break
        if taken == HELD:
            held.append(("held", data[at:at + size]))
        at += size
    session.let_go()
    return take_actions(session) + held


def take_actions(Session session):
    """What the session has to say since it was last asked."""
    actions = []
    to_broker = b"".join(bytes(part) for part in session.to_broker.take())
    to_client = b"".join(bytes(part) for part in session.to_client.take())
    if to_broker:
        actions.append(("broker", to_broker))
    if to_client:
        actions.append(("client", to_client))
    if session.waiting is not None:
        actions.append(("wait", session.waiting))
    if session.state == CLOSED:
        actions.append(("close", session.cause))
    return actions


def receive_client(Session session, bytes data, double now):
    return feed(session, True, data, now)


def receive_broker(Session session, bytes data, double now):
    return feed(session, False, data, now)
