"""The machine of greeting, login and re-authentication; states, diagram and fields are in the .pxd."""
from kproxy._ext.login cimport authenticate_body, fits_software, handshake_body, judge_identity, versions_body
from kproxy._ext.login cimport versions_refusal_body
from kproxy._ext.opening cimport build_response

from kproxy._ext import schema
from kproxy.errors import CloseCause, WireError

cdef enum:
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    SASL_AUTHENTICATE = 36
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    SASL_AUTHENTICATION_FAILED = 58
    INVALID_REQUEST = 42
    NEWEST_VERSIONS = 5             # of ApiVersions that is understood
    NEWEST_AUTHENTICATE = 2
    # Kafka's own bound (KafkaChannel.MIN_REAUTH_INTERVAL_ONE_SECOND_NANOS): checking tokens is work.
    LEAST_BETWEEN = 1               # seconds from one re-authentication to the next

cdef enum Step:
    TELL_VERSIONS = 0
    HANDSHAKE = 1
    TOKEN = 2
    AGAIN = 3           # a handshake on an open session
    NOT_NOW = 4         # 34, and the connection stays
    LAST_WORD = 5       # 58 after the challenge
    WRONG_MECHANISM = 6
    OUT_OF_ORDER = 7    # 34, and the end
    UNANSWERED = 8      # the end at once: the first frames of who is no client
    STRANGER = 9        # a request before any login

# Columns: ApiVersions, SaslHandshake, SaslAuthenticate, anything else.
cdef int[STATES][4] STEPS
STEPS[<int>GREETING][:] = [TELL_VERSIONS, HANDSHAKE, UNANSWERED, STRANGER]
STEPS[<int>OFFERED][:] = [OUT_OF_ORDER, OUT_OF_ORDER, TOKEN, OUT_OF_ORDER]
STEPS[<int>MISMATCHED][:] = [OUT_OF_ORDER, OUT_OF_ORDER, WRONG_MECHANISM, OUT_OF_ORDER]
STEPS[<int>VERIFYING][:] = [OUT_OF_ORDER, OUT_OF_ORDER, OUT_OF_ORDER, OUT_OF_ORDER]
STEPS[<int>CHALLENGED][:] = [OUT_OF_ORDER, OUT_OF_ORDER, LAST_WORD, OUT_OF_ORDER]
STEPS[<int>PROVEN][:] = [OUT_OF_ORDER, OUT_OF_ORDER, OUT_OF_ORDER, OUT_OF_ORDER]
# What else comes on an open session is the session's own work and never gets here.
STEPS[<int>SETTLED][:] = [TELL_VERSIONS, AGAIN, NOT_NOW, UNANSWERED]
STEPS[<int>FAILED][:] = [UNANSWERED, UNANSWERED, UNANSWERED, UNANSWERED]


cdef int column_of(int api) noexcept:
    if api == API_VERSIONS:
        return 0
    if api == SASL_HANDSHAKE:
        return 1
    return 2 if api == SASL_AUTHENTICATE else 3


cdef class Authentication:
    def __cinit__(self, mechanisms, facts=None):
        """``facts``: of a listener that authenticates nobody; nothing is asked then."""
        self.mechanisms = tuple(mechanisms)
        self.facts = facts
        self.client_id = ""
        self.client_software = ""
        self.expires_at = float("inf")
        self.began_at = float("-inf")

    cdef bint receive(self, Opening opening, double now) except -1:
        cdef int step = STEPS[self.state][column_of(opening.head.api_key)]
        if self.facts is not None and self.state == GREETING and step != TELL_VERSIONS:
            # The listener authenticates nobody: the first other request needs the broker.
            self.state = PROVEN
            self.ticket = ("broker",)
            return False
        return self.take_step(step, opening, now)

    cdef bint take_step(self, int step, Opening opening, double now) except -1:
        if step == TELL_VERSIONS:
            return self.tell_versions(opening)
        if step == HANDSHAKE:
            return self.take_handshake(opening, now)
        if step == TOKEN:
            return self.take_token(opening)
        if step == AGAIN:
            if self.may_begin_again(opening, now):
                return self.take_handshake(opening, now)
            self.refuse_order(opening)
        elif step == NOT_NOW:
            self.refuse_order(opening)
        elif step == LAST_WORD or step == WRONG_MECHANISM:
            self.version = min(<int>opening.head.api_version, <int>NEWEST_AUTHENTICATE)
            self.correlation = opening.head.correlation
            if step == LAST_WORD:
                self.say(SASL_AUTHENTICATION_FAILED, "Authentication failed", b"", now)
                self.fail(CloseCause.REAUTHENTICATION_FAILED if self.again else CloseCause.LOGIN_FAILED)
            else:
                # Kafka closes without this answer; clients understand it all the same, and it says what was wrong.
                self.say(SASL_AUTHENTICATION_FAILED, f"The mechanism of a session, {self.facts.mechanism}, cannot be "
                         "changed by re-authentication", b"", now)
                self.fail(CloseCause.MECHANISM_CHANGED)
        elif step == OUT_OF_ORDER:
            self.refuse_order(opening)
            self.fail(CloseCause.ILLEGAL_SASL_STATE)
        else:
            self.fail(CloseCause.ILLEGAL_SASL_STATE if step == UNANSWERED else CloseCause.NOT_AUTHENTICATED)
        return True

    # -- steps --------------------------------------------------------------------------------------------------------

    cdef bint tell_versions(self, Opening opening) except -1:
        cdef int version = opening.head.api_version
        if version > NEWEST_VERSIONS or version < 0:
            self.said = build_response(API_VERSIONS, 0, opening.head.correlation, versions_refusal_body())
            return True
        if self.promise is None:
            self.ticket = ("versions",)
            return False
        code = self.judge_client(opening) if version >= 3 else 0
        body = versions_body(version, self.promise) if code == 0 else schema.build(
            API_VERSIONS, version, True, {"error_code": code})
        self.said = build_response(API_VERSIONS, version, opening.head.correlation, body)
        return True

    def judge_client(self, Opening opening):
        """0 or an error. Takes the client's software name, which must look as KIP-511 says; whom it means to speak to
        (KIP-1242) is looked at."""
        try:
            body = schema.parse(API_VERSIONS, opening.head.api_version, False,
                                opening.data[opening.body:opening.length])
        except WireError:
            return INVALID_REQUEST
        words = (body["client_software_name"], body["client_software_version"])
        if not all(fits_software(word) for word in words):
            return INVALID_REQUEST
        self.client_software = f"{words[0]}/{words[1]}"[:128]
        return judge_identity(self.promise, body.get("cluster_id"), body.get("node_id", -1))

    def may_begin_again(self, Opening opening, double now):
        """As Kafka has it: a session without an end needs none, and one a second is enough. A clock set back does not
        lock a client out."""
        if opening.head.api_version != 1 or self.expires_at == float("inf"):
            return False
        return not 0 <= now - self.began_at < LEAST_BETWEEN

    cdef bint take_handshake(self, Opening opening, double now) except -1:
        cdef bint again = self.state == SETTLED
        if opening.head.client_id_length > 0:
            start = opening.head.client_id_at
            self.client_id = opening.data[start:start + opening.head.client_id_length].decode("utf-8", "replace")[:256]
        if opening.head.api_version != 1:
            self.fail(CloseCause.UNKNOWN_API)
            return True
        try:
            mechanism = schema.parse(SASL_HANDSHAKE, 1, False, opening.data[opening.body:opening.length])["mechanism"]
        except WireError:
            self.fail(CloseCause.MALFORMED_REQUEST)
            return True
        known = mechanism in self.mechanisms
        self.said = build_response(SASL_HANDSHAKE, 1, opening.head.correlation, handshake_body(
            1, 0 if known else UNSUPPORTED_SASL_MECHANISM, self.mechanisms))
        if not known:
            self.fail(CloseCause.UNSUPPORTED_MECHANISM)
            return True
        self.state = OFFERED
        self.again = again
        if not again:
            self.mechanism = mechanism
            return True
        self.began_at = now
        if mechanism != self.mechanism:
            # The answer to the handshake is Kafka's; it is the token that fails.
            self.state = MISMATCHED
        return True

    cdef bint take_token(self, Opening opening) except -1:
        if not 0 <= opening.head.api_version <= NEWEST_AUTHENTICATE:
            self.fail(CloseCause.UNKNOWN_API)
            return True
        try:
            body = schema.parse(SASL_AUTHENTICATE, opening.head.api_version, False,
                                opening.data[opening.body:opening.length])
        except WireError:
            self.fail(CloseCause.MALFORMED_REQUEST)
            return True
        self.version = opening.head.api_version
        self.correlation = opening.head.correlation
        self.state = VERIFYING
        self.ticket = ("token", self.mechanism, bytes(body["auth_bytes"]))
        return True

    cdef int refuse_order(self, Opening opening) except -1:
        """34 in the answer of whatever was asked. An answer that has no place for one error of the whole is left out: an
        empty list with no error would say something untrue."""
        cdef int api = opening.head.api_key, version = opening.head.api_version
        if api == SASL_HANDSHAKE:
            if 0 <= version <= 1:
                self.said = build_response(api, version, opening.head.correlation,
                                           handshake_body(version, ILLEGAL_SASL_STATE, self.mechanisms))
        elif api == SASL_AUTHENTICATE:
            if 0 <= version <= NEWEST_AUTHENTICATE:
                text = ("A re-authentication has not begun" if self.state == SETTLED
                        else "A token is not what comes now")
                self.said = build_response(api, version, opening.head.correlation,
                                           authenticate_body(version, ILLEGAL_SASL_STATE, text, b"", 0))
        else:
            try:
                body = schema.build(api, version, True, {"error_code": ILLEGAL_SASL_STATE})
                if schema.parse(api, version, True, body).get("error_code") != ILLEGAL_SASL_STATE:
                    return 0
            except (ValueError, KeyError, WireError):
                return 0
            self.said = build_response(api, version, opening.head.correlation, body)
        return 0

    cdef int say(self, int error, str message, bytes token, double now) except -1:
        """The answer to the token. One that opens or renews a session tells how long it lasts (KIP-368)."""
        cdef double left = 0
        if error == 0 and self.state == SETTLED and self.expires_at != float("inf"):
            left = self.expires_at - now
        self.said = build_response(SASL_AUTHENTICATE, self.version, self.correlation, authenticate_body(
            self.version, error, message, token, max(0, <long long>(left * 1000))))
        return 0

    cdef int fail(self, object cause) except -1:
        self.state = FAILED
        self.ticket = None
        self.cause = cause
        return 0

    # -- verdicts -----------------------------------------------------------------------------------------------------

    cdef int prove(self, object facts, double now) except -1:
        """The token proves who the client is. At the first login the answer waits until a broker is there to serve it;
        later ones renew the session of the same principal, and of no other."""
        if not self.again:
            self.facts = facts
            self.expires_at = facts.expires_at
            self.state = PROVEN
            self.ticket = ("broker",)
            return 0
        held = self.facts.principal
        if (held.name, held.issuer, held.subject) != (
                facts.principal.name, facts.principal.issuer, facts.principal.subject):
            self.ticket = None
            self.say(SASL_AUTHENTICATION_FAILED, f"Cannot change principals during re-authentication from {held.name} "
                     f"to {facts.principal.name}", b"", now)
            return self.fail(CloseCause.PRINCIPAL_CHANGED)
        self.facts = facts
        self.expires_at = facts.expires_at
        return self.settle(now)

    cdef int refuse(self, str message, object challenge) except -1:
        self.ticket = None
        if challenge is not None:
            self.say(0, None, challenge, 0)
            self.state = CHALLENGED
            return 0
        self.say(SASL_AUTHENTICATION_FAILED, message, b"", 0)
        return self.fail(CloseCause.REAUTHENTICATION_FAILED if self.again else CloseCause.LOGIN_FAILED)

    cdef int settle(self, double now) except -1:
        """Everything is there. A lifetime below a millisecond would be told as 0, which means none: it is refused."""
        self.ticket = None
        if self.expires_at - now < 0.001:
            if self.mechanism is not None:
                self.say(SASL_AUTHENTICATION_FAILED, "Authentication failed: the token has expired", b"", now)
            return self.fail(CloseCause.SESSION_EXPIRED)
        self.state = SETTLED
        self.again = False
        if self.mechanism is not None:
            self.say(0, None, b"", now)
        return 0
