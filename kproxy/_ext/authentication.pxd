"""Who the client is: versions, handshake and token, at its first login and at every later one (KIP-368). One machine.

    GREETING ──SaslHandshake──► OFFERED ──SaslAuthenticate──► VERIFYING ──facts──► PROVEN ──broker ready──► SETTLED
        │                          ▲                           │     │                                      ▲   │
        │ nobody is asked who      │                           │     └── again: facts of the same principal ┘   │
        │ they are: any request    │                           │                                                │
        ├──► PROVEN                └───────── SaslHandshake, a second or more after the last ───────────────────┤
        │                                                      │                                                │
        │                                  token refused ──────┤         SaslHandshake, another mechanism ──────┤
        │                                 OAUTHBEARER │        │ PLAIN                                          ▼
        │                                             ▼        │                                           MISMATCHED
        │                                        CHALLENGED ───┴──► FAILED: 58, then the end ◄──SaslAuthenticate┘
        └── anything else ──► FAILED ◄── anything out of order, from every state: 34 where the answer has a place for it

What is asked when is the table STEPS: a row for each state, a column for each kind of request. It holds no socket and no
clock, and it never answers by itself: ``said``, ``ticket`` and ``cause`` are what the session carries out after each call.
Kafka's own server side is SaslServerAuthenticator; where the two differ a comment says so.
"""
from libc.stdint cimport int16_t, int32_t

from kproxy._ext.opening cimport Opening


cdef enum AuthenticationState:
    GREETING = 0
    OFFERED = 1         # a mechanism was agreed on; the token is next
    MISMATCHED = 2      # again, with a mechanism that is not the session's: the token will fail
    VERIFYING = 3       # the shell checks the token; no frame is taken meanwhile
    CHALLENGED = 4      # an OAUTHBEARER token was refused: one more SaslAuthenticate is answered 58 (RFC 7628 §3.2.3)
    PROVEN = 5          # it is known who the client is; the broker's connection is awaited
    SETTLED = 6
    FAILED = 7
    STATES = 8


cdef class Authentication:
    cdef readonly int state
    cdef readonly bint again            # a session that is open proves itself anew
    cdef readonly object facts          # kproxy.model.access.Facts in force; None before the first login
    cdef readonly double expires_at     # Unix seconds; the end of what the facts prove
    cdef readonly str client_id
    cdef readonly str client_software
    cdef tuple mechanisms
    cdef str mechanism
    cdef object promise                 # kproxy._ext.login.Promise; None until a broker was asked
    cdef double began_at                # of the last re-authentication
    cdef int16_t version                # of the SaslAuthenticate being answered
    cdef int32_t correlation
    # What the session carries out, and then clears.
    cdef bytes said                     # an answer for the client, in its turn
    cdef object ticket                  # ("versions",) | ("token", mechanism, payload) | ("broker",)
    cdef object cause                   # a CloseCause: the end, once what was said is out

    # One frame of the client; ``opening`` has its head. False: offer the same frame again when the ticket is answered.
    cdef bint receive(self, Opening opening, double now) except -1
    cdef bint take_step(self, int step, Opening opening, double now) except -1
    # Verdicts.
    cdef int prove(self, object facts, double now) except -1
    cdef int refuse(self, str message, object challenge) except -1
    cdef int settle(self, double now) except -1
    # Steps.
    cdef bint tell_versions(self, Opening opening) except -1
    cdef bint take_handshake(self, Opening opening, double now) except -1
    cdef bint take_token(self, Opening opening) except -1
    cdef int refuse_order(self, Opening opening) except -1
    cdef int say(self, int error, str message, bytes token, double now) except -1
    cdef int fail(self, object cause) except -1
