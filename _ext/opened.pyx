"""The modules that open requests and answers, driven by hand: one request frame in, its treatment out;
then the broker's answer to it. For tests and fuzz harnesses of the modules without a session around them.
"""
from libc.stdint cimport int32_t
from libc.string cimport memcpy

from kproxy._ext cimport apis
from kproxy._ext.chunk cimport Chunk, take_chunk
from kproxy._ext.opening cimport WAIT, Addresses, Opening
from kproxy._ext.policy_table cimport PolicyTable
from kproxy._ext.request cimport HEAD_OK, walk_request_head, walk_response_head

from kproxy.errors import WireError

cdef tuple TREATMENTS = ("forward", "replace", "answer", "wait", "close")


cdef class Opened:
    """One connection's opening. ``decide`` is what PolicyTable takes."""
    cdef Opening opening
    cdef object memo
    cdef object head
    cdef readonly list denials
    cdef readonly list guarded
    cdef readonly object cause
    cdef object named

    def __init__(self, decide, Addresses addresses):
        self.opening = Opening(PolicyTable(decide), addresses)

    def answered(self, asked):
        """Approvals already asked for: {ApprovalWanted: (request id, state)}."""
        self.opening.asked.update(asked)

    @property
    def unknown(self):
        """The ids that the last request waits for."""
        return sorted(self.opening.unknown or ())

    def looked_up(self):
        """They were asked for; the next request is the same again."""
        self.opening.looked_up = True

    def forget_decisions(self):
        self.opening.table.clear()

    def request(self, bytes frame not None, double now=0):
        """(treatment, bytes): the frame for the broker, or the answer for the client, both without their size.
        Raises WireError where a session would close before any module saw the frame."""
        cdef Chunk chunk = self.fill(frame, now)
        if walk_request_head(self.opening.data, self.opening.length, &self.opening.head) != HEAD_OK:
            raise WireError("head")
        self.opening.body = self.opening.head.body
        self.head = (self.opening.head.api_key, self.opening.head.api_version, self.opening.head.correlation)
        if not self.opening.walk(False):
            raise WireError("body")
        apis.open_request(self.opening)
        self.memo = self.opening.memo
        self.named = self.opening.named
        if self.opening.treatment != WAIT:
            self.opening.looked_up = False
        return self.result(frame)

    def response(self, bytes frame not None, double now=0):
        """The same for the broker's answer to the request before; as in a session, one that nobody has to look at goes
        on unopened."""
        cdef int32_t correlation = 0
        cdef Chunk chunk = self.fill(frame, now)
        self.opening.head.api_key, self.opening.head.api_version, self.opening.head.correlation = self.head
        self.opening.body = walk_response_head(self.opening.head.api_key, self.opening.head.api_version,
                                               self.opening.data, self.opening.length, &correlation)
        if self.opening.body < 0 or not self.opening.walk(True):
            raise WireError("body")
        self.opening.named = self.named
        if self.memo is not None or apis.opens_answers(self.opening.head.api_key):
            apis.open_response(self.opening, self.memo)
        return self.result(frame)

    def repeat_response(self, bytes frame not None, int times):
        """For benches: the answer is opened ``times`` times where it lies, as a session would, and not sent."""
        cdef Chunk chunk = self.fill(frame, 0)
        cdef int32_t correlation = 0
        cdef int n
        for n in range(times):
            self.opening.begin(chunk, 0, len(frame), 0)
            self.opening.head.api_key, self.opening.head.api_version, self.opening.head.correlation = self.head
            self.opening.body = walk_response_head(self.opening.head.api_key, self.opening.head.api_version,
                                                   self.opening.data, self.opening.length, &correlation)
            if self.opening.body < 0 or not self.opening.walk(True):
                raise WireError("body")
            apis.open_response(self.opening, self.memo)

    cdef Chunk fill(self, bytes frame, double now):
        cdef Chunk chunk = take_chunk(len(frame))
        memcpy(chunk.data, <const char*>frame, len(frame))
        chunk.filled = len(frame)
        self.opening.begin(chunk, 0, len(frame), now)
        return chunk

    def result(self, bytes frame):
        self.denials = list(self.opening.denials)
        self.guarded = list(self.opening.guarded)
        self.cause = self.opening.cause
        treatment = TREATMENTS[self.opening.treatment]
        out = {"forward": frame, "answer": self.opening.answer}.get(treatment)
        if treatment == "replace":
            out = b"".join([bytes(part) for part in self.opening.segments])
        if treatment in ("replace", "answer"):
            if int.from_bytes(out[:4], "big") != len(out) - 4:
                raise WireError("the size of the new frame is wrong")
            out = out[4:]
        return treatment, out
