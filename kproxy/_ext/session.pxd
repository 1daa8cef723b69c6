"""One client connection as a pure machine: frames and verdicts in, spans and tickets out. No socket, no clock.

    LOGIN ──facts, broker ready──► OPEN ──SaslHandshake──► REAUTHENTICATING ──facts──► OPEN
      │                             │                            │
      │                             └──────── a refusal ─────────┴──► ENDING ──last answer──► CLOSED
      └── any state ──cause──► CLOSED

What happens in LOGIN and REAUTHENTICATING is one machine, kproxy/_ext/authentication.pxd. Requests that were under way
when a re-authentication began keep their slots and are answered; those behind it wait until its verdict. Whatever is
answered after the verdict is decided by the new facts. ENDING takes nothing more from the client and answers what it
asked before; the refusal is the last answer.

Waiting is a ticket. While ``waiting`` is set the client's half (protocol.pxd) offers no frame; the shell
(kproxy/dataplane/connection.py) does what the ticket asks, calls ``resume_versions``, ``resume_login``,
``resume_broker``, ``resume_topic_ids``, ``resume_schemas`` or ``resume_approval`` (or ``refuse_login``), and then ``resumed`` of the half. A frame that was HELD is
then offered again, because the answer may change what it may do. An answer of the broker's whose records need a schema
waits by itself, with those behind it: ``answer_needs``, ``resume_answer``, ``resumed_answer``.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint64_t

from kproxy._ext.apis cimport APIS
from kproxy._ext.authentication cimport Authentication
from kproxy._ext.chunk cimport Chunk, Lane
from kproxy._ext.ledger cimport Counters, Flow, Ledger
from kproxy._ext.opening cimport Addresses, Opening
from kproxy._ext.policy_table cimport PolicyTable
from kproxy._ext.quota cimport Budgets
from kproxy._ext.slots cimport Slot, Slots


cdef enum SessionState:
    LOGIN = 0
    OPEN = 1
    REAUTHENTICATING = 2
    ENDING = 3
    CLOSED = 4

cdef enum Taken:
    TAKEN = 0
    HELD = 1            # offer the same frame again when the ticket is answered
    STOP = 2            # the session is CLOSED or ENDING: offer nothing more
    OURS = 3            # a broker's answer to a request of kproxy's own


# A number all sessions of a worker compare with their own at every frame; publishing a snapshot raises it.
cdef class Epoch:
    cdef public long value


# What was told once and has happened again since.
cdef class Told:
    cdef str kind
    cdef long repeated
    cdef dict fields            # as it was told; without an API: a sum over many that were not told one by one
    cdef dict rules             # {rule: its hits} since


cdef class Session:
    cdef readonly int state
    cdef readonly str cause                 # a CloseCause value
    cdef readonly str ending                # the same while ENDING
    cdef Authentication authentication
    cdef readonly object waiting            # a ticket: ("token", mechanism, payload) | ("broker",) | ("approval", [wanted])
                                            # | ("versions",) | ("topic_ids", [id]) | ("schemas", [id])
    cdef readonly object answer_needs       # ids of schemas that the next answer waits for; None: it waits for none
    cdef bint schemas_asked                 # those of the client's next frame were asked for
    cdef bint answer_asked                  # and those of the broker's; what it took from a quota is taken
    cdef readonly uint64_t number
    cdef readonly int64_t requests
    cdef int16_t lowest[APIS]               # what is advertised, for the hot path; highest −1: not served
    cdef int16_t highest[APIS]
    cdef Opening opening
    cdef PolicyTable table
    cdef Epoch epoch
    cdef long seen_epoch
    cdef Ledger ledger
    cdef Counters counters
    cdef readonly Flow flow
    cdef object journal                     # called for what is rare: journal(kind, session, fields)
    cdef dict told                          # of the last second: what was told -> Told
    cdef long untold                        # refusals of the last second that were too many to be told one by one
    cdef double answered_at                 # when approvals were last answered; -1: the next frame will say
    cdef public Budgets budgets             # what the session may use; None: as much as it likes
    cdef public bint muted                  # a quota is used up: no frame is taken until the half lets it
    cdef double mute_for                    # seconds, for the half to take up
    cdef int32_t throttle_ms                # what a quota made of the frame that is being taken
    cdef readonly Lane to_client
    cdef readonly Lane to_broker
    cdef readonly Slots slots

    # client's side
    cdef int client_frame(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1
    cdef int take_epoch(self) except -1
    cdef void charge(self, Py_ssize_t size) noexcept
    cdef int32_t throttle(self, double delay) noexcept
    cdef int take_promise(self, object promise) except -1
    cdef bint serves(self, int api, int version) noexcept
    cdef int authenticate(self, double now) except -1
    cdef int follow(self, bint taken, double now) except -1
    cdef int serve(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1
    cdef int open_request(self) except -1
    cdef int forward_opened(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1
    # broker's side
    cdef int broker_frame(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1
    cdef int pass_on(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, Slot* slot, double now) except -1
    cdef int ask_broker(self, bytes frame, double now) except -1
    cdef int open_response(self, Slot* slot) except -1
    cdef int settle(self, Slot* slot, double now) except -1
    # answers in order
    cdef int answer(self, bytes frame, double now) except -1
    cdef int release_answers(self, double now) except -1
    cdef int finish(self, object cause) except -1
    cdef int tell(self) except -1
    cdef int tell_once(self, object key, str kind, dict fields) except -1
    cdef void let_go(self) noexcept
    cpdef close(self, object cause)
