"""One client connection as a pure machine; states, tickets and fields are in the .pxd."""
from kproxy._ext cimport apis, produce
from kproxy._ext.apis cimport APIS
from kproxy._ext.ledger cimport ALLOWED, ASKED, DENIED, LOCAL, WOULD_DENY
from kproxy._ext.login cimport authenticate_body, fits_software, handshake_body, versions_body, versions_refusal_body
from kproxy._ext.opening cimport ANSWER, CLOSE, FORWARD, REPLACE, WAIT, NoteRow, build_response
from kproxy._ext.request cimport HEAD_BAD, UNKNOWN_API, walk_request_head, walk_response_head
from kproxy._ext.slots cimport Intent, Slot, Slots, find_intent

from kproxy._ext import schema
from kproxy.errors import CloseCause, WireError

cdef enum:
    PRODUCE = 0
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    SASL_AUTHENTICATE = 36
    UNSUPPORTED_SASL_MECHANISM = 33
    ILLEGAL_SASL_STATE = 34
    SASL_AUTHENTICATION_FAILED = 58
    OUTCOME = 2                     # kproxy.model.spool
    ASK_AGAIN = 5                   # seconds after which an answer about an approval is no longer taken for granted
    MOST_TOLD = 256                 # different refusals told one by one within a second


cdef class Epoch:
    def __init__(self, long value=0):
        self.value = value


cdef class Session:
    def __cinit__(self, number, mechanisms, Addresses addresses, decide, Epoch epoch, Ledger ledger, Counters counters,
                  journal, facts=None):
        self.number = number
        self.mechanisms = tuple(mechanisms)
        self.table = PolicyTable(decide)
        self.opening = Opening(self.table, addresses)
        self.epoch = epoch
        self.seen_epoch = epoch.value
        self.ledger = ledger
        self.counters = counters
        self.journal = journal
        self.flow = Flow()
        self.to_client = Lane()
        self.to_broker = Lane()
        self.client_id = ""
        self.client_software = ""
        self.expires_at = float("inf")
        self.slots = Slots()
        self.facts = facts
        self.told = {}

    # -- the client's side ------------------------------------------------------------------------------------------

    cdef int client_frame(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        """One whole frame, ``size`` bytes at ``at`` of ``chunk``, its four length bytes included. Gives TAKEN, HELD, STOP."""
        cdef Opening opening = self.opening
        cdef int status
        if self.state == CLOSED:
            return STOP
        # SAFETY: the chunk outlives this call, and nothing keeps the pointer after it.
        opening.begin(chunk, at + 4, size - 4, now)
        status = walk_request_head(opening.data, opening.length, &opening.head)
        if status == HEAD_BAD or (status == UNKNOWN_API and opening.head.api_key != API_VERSIONS):
            bad_start = self.state == GREETING and status == HEAD_BAD
            return self.close(CloseCause.NOT_KAFKA if bad_start else CloseCause.UNKNOWN_API) or STOP
        opening.body = opening.head.body
        if self.state != OPEN:
            self.requests += 1
            return self.greet(now)
        if now >= self.expires_at:
            return self.close(CloseCause.SESSION_EXPIRED) or STOP
        if self.seen_epoch != self.epoch.value:
            self.take_epoch()
        elif opening.asked:
            # A request may have timed out since, or the control process come back: nobody publishes either.
            if self.answered_at < 0:
                self.answered_at = now
            elif not 0 <= now - self.answered_at <= ASK_AGAIN:
                opening.asked.clear()
        return self.serve(chunk, at, size, now)

    cdef int take_epoch(self) except -1:
        self.seen_epoch = self.epoch.value
        self.forget_decisions()
        self.opening.asked.clear()
        return 0

    cdef void let_go(self) noexcept:
        """Between frames nothing points into a read buffer, and none is held."""
        self.opening.data = NULL
        self.opening.chunk = None
        self.opening.memo = None
        self.opening.segments = None
        self.opening.answer = None

    cdef int greet(self, double now) except -1:
        """Frames before the session is open: versions, handshake, token. Anything else ends the connection."""
        cdef Opening opening = self.opening
        cdef int api = opening.head.api_key
        if api == API_VERSIONS and self.state in (GREETING, HANDSHAKEN):
            return self.answer_versions(now)
        if self.facts is not None and self.state == GREETING:
            # The listener authenticates nobody: the first other request needs the broker.
            self.state = CONNECTING
            self.waiting = ("broker",)
            return HELD
        if api == SASL_HANDSHAKE and self.state == GREETING:
            return self.answer_handshake(now)
        if api == SASL_AUTHENTICATE and self.state == HANDSHAKEN:
            return self.take_token(now)
        if api == SASL_AUTHENTICATE and self.state == REFUSED:
            self.answer_login(SASL_AUTHENTICATION_FAILED, "Authentication failed", b"", now)
            return self.close(CloseCause.LOGIN_FAILED) or STOP
        illegal = api in (SASL_HANDSHAKE, SASL_AUTHENTICATE) or self.state != GREETING
        return self.close(CloseCause.ILLEGAL_SASL_STATE if illegal else CloseCause.NOT_AUTHENTICATED) or STOP

    cdef int take_ranges(self, object ranges) except -1:
        cdef int api
        self.ranges = dict(ranges)
        for api in range(APIS):
            self.lowest[api], self.highest[api] = self.ranges.get(api, (0, -1))
        return 0

    cdef bint serves(self, int api, int version) noexcept:
        return 0 <= api < APIS and self.lowest[api] <= version <= self.highest[api]

    def answer_versions(self, double now):
        cdef Opening opening = self.opening
        cdef int version = opening.head.api_version
        if version > 4 or version < 0:
            opening.head.api_version = 0
            opening.answer_body(versions_refusal_body())
            self.answer(opening.answer, now)
            return TAKEN
        if self.ranges is None:
            self.waiting = ("versions",)
            return HELD
        if version >= 3 and not self.software_fits():
            opening.answer_body(schema.build(API_VERSIONS, version, True, {"error_code": 42}))
        else:
            opening.answer_body(versions_body(version, self.ranges))
        self.answer(opening.answer, now)
        return TAKEN

    def software_fits(self):
        """Takes the client's software name, which must look as KIP-511 says."""
        cdef Opening opening = self.opening
        try:
            body = schema.parse(API_VERSIONS, opening.head.api_version, False,
                                opening.data[opening.body:opening.length])
        except WireError:
            return False
        words = (body["client_software_name"], body["client_software_version"])
        if not all(fits_software(word) for word in words):
            return False
        self.client_software = f"{words[0]}/{words[1]}"[:128]
        return True

    def answer_handshake(self, double now):
        cdef Opening opening = self.opening
        self.take_client_id()
        if opening.head.api_version != 1:
            return self.close(CloseCause.UNKNOWN_API) or STOP
        try:
            mechanism = schema.parse(SASL_HANDSHAKE, 1, False, opening.data[opening.body:opening.length])["mechanism"]
        except WireError:
            return self.close(CloseCause.MALFORMED_REQUEST) or STOP
        known = mechanism in self.mechanisms
        opening.answer_body(handshake_body(1, 0 if known else UNSUPPORTED_SASL_MECHANISM, self.mechanisms))
        self.answer(opening.answer, now)
        if not known:
            return self.close(CloseCause.UNSUPPORTED_MECHANISM) or STOP
        self.mechanism = mechanism
        self.state = HANDSHAKEN
        return TAKEN

    def take_client_id(self):
        cdef Opening opening = self.opening
        if opening.head.client_id_length > 0:
            start = opening.head.client_id_at
            self.client_id = opening.data[start:start + opening.head.client_id_length].decode("utf-8", "replace")[:256]

    def take_token(self, double now):
        cdef Opening opening = self.opening
        if opening.head.api_version > 2:
            return self.close(CloseCause.UNKNOWN_API) or STOP
        try:
            body = schema.parse(SASL_AUTHENTICATE, opening.head.api_version, False,
                                opening.data[opening.body:opening.length])
        except WireError:
            return self.close(CloseCause.MALFORMED_REQUEST) or STOP
        self.login_version = opening.head.api_version
        self.login_correlation = opening.head.correlation
        self.state = VERIFYING
        self.waiting = ("token", self.mechanism, bytes(body["auth_bytes"]))
        return TAKEN

    def answer_login(self, int error, message, bytes token, double now):
        body = authenticate_body(self.login_version, error, message, token, 0)
        self.answer(build_response(SASL_AUTHENTICATE, self.login_version, self.opening.head.correlation
                                   if self.state == REFUSED else self.login_correlation, body), now)

    # -- verdicts the shell brings ------------------------------------------------------------------------------------

    def resume_versions(self, ranges):
        """``ranges``: {key: (lowest, highest)} to advertise, or None: no broker could be asked."""
        self.waiting = None
        if ranges is None:
            self.close(CloseCause.BROKER_UNREACHABLE)
        else:
            self.take_ranges(ranges)

    def resume_login(self, facts, double now):
        """The token proved who the client is. The answer waits until a broker is there to serve it."""
        if self.state != VERIFYING:
            return
        self.facts = facts
        self.expires_at = facts.expires_at
        self.state = CONNECTING
        self.waiting = ("broker",)

    def refuse_login(self, str message, challenge, double now):
        """``challenge``: the RFC 7628 error JSON for OAUTHBEARER, after which the client gets its 58; else None."""
        if self.state != VERIFYING:
            return
        self.waiting = None
        if challenge is not None:
            self.answer_login(0, None, challenge, now)
            self.state = REFUSED
            return
        self.answer_login(SASL_AUTHENTICATION_FAILED, message, b"", now)
        self.close(CloseCause.LOGIN_FAILED)

    def resume_broker(self, ranges, double now):
        """The broker's connection is up and logged in. ``ranges`` may have changed since they were advertised."""
        if self.state != CONNECTING:
            return
        self.waiting = None
        self.take_ranges(ranges)
        self.state = OPEN
        if self.mechanism is not None:
            self.answer_login(0, None, b"", now)

    def resume_approval(self, answers):
        """``answers``: {ApprovalWanted: (request id, state)}."""
        self.waiting = None
        self.opening.asked.update(answers)
        self.answered_at = -1

    # -- serving ------------------------------------------------------------------------------------------------------

    cdef int serve(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        cdef Opening opening = self.opening
        cdef int api = opening.head.api_key
        cdef int decision
        if api in (SASL_HANDSHAKE, SASL_AUTHENTICATE, API_VERSIONS):
            return self.serve_login(now)
        if not self.serves(api, opening.head.api_version):
            return self.close(CloseCause.UNKNOWN_API) or STOP
        if not opening.walk(False):
            return self.close(CloseCause.MALFORMED_REQUEST) or STOP
        self.open_request()
        if opening.treatment == WAIT:
            self.waiting = ("approval", list(opening.wanted))
            return HELD
        self.requests += 1
        decision = ALLOWED
        if opening.denials or opening.refused_records or opening.condition_errors:
            decision = self.tell()
        if opening.treatment == ANSWER and decision == ALLOWED:
            decision = LOCAL
        self.counters.requests[api][decision] += 1
        return self.forward_opened(chunk, at, size, now)

    def serve_login(self, double now):
        """SASL on an open session is answered 34 and changes nothing; versions may be asked again at any time."""
        cdef Opening opening = self.opening
        cdef int api = opening.head.api_key
        if api == API_VERSIONS:
            return self.answer_versions(now)
        if not self.serves(api, opening.head.api_version):
            return self.close(CloseCause.UNKNOWN_API) or STOP
        if api == SASL_HANDSHAKE:
            opening.answer_body(handshake_body(opening.head.api_version, ILLEGAL_SASL_STATE, self.mechanisms))
        else:
            opening.answer_body(authenticate_body(opening.head.api_version, ILLEGAL_SASL_STATE,
                                                  "This connection is authenticated already", b"", 0))
        self.answer(opening.answer, now)
        return TAKEN

    cdef int open_request(self) except -1:
        if self.opening.head.api_key == PRODUCE and self.ledger.refusing:
            return produce.refuse_unaudited(self.opening)
        return apis.open_request(self.opening)

    cdef int forward_opened(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        cdef Opening opening = self.opening
        cdef Slot* slot
        cdef int i
        if opening.treatment == CLOSE:
            return self.close(opening.cause) or STOP
        if opening.treatment == ANSWER:
            self.answer(opening.answer, now)
            return TAKEN
        for i in range(opening.note_count):
            self.ledger.add(self.number, opening.head.correlation, &opening.notes[i])
        self.counters.records_in += opening.records
        if opening.acks != 0:
            slot = self.slots.push(opening, now)
            if opening.memo is not None or opening.note_count:
                self.slots.remember(slot, opening)
        if opening.treatment == FORWARD:
            self.to_broker.forward(chunk, at, size)
        else:
            for segment in opening.segments:
                self.to_broker.add(segment)
        if opening.cause is not None:
            return self.close(opening.cause) or STOP
        return TAKEN

    cdef int tell(self) except -1:
        """Hands denials and hits to the journal; gives the decision the counters are told."""
        cdef Opening opening = self.opening
        cdef int decision = ALLOWED
        for operation, resource, name, verdict in opening.denials:
            if verdict.effect == "deny":
                decision = DENIED
            elif verdict.effect == "ask":
                decision = ASKED if decision != DENIED else decision
            elif decision == ALLOWED:
                decision = WOULD_DENY
            kind = "denied" if verdict.effect != "allow" else "would"
            self.tell_once((kind, opening.head.api_key, operation, resource, name, verdict.rule), kind, {
                "api": opening.head.api_key, "operation": operation, "resource": resource, "name": name,
                "verdict": verdict, "request_id": opening.asked.get(verdict.wanted, ("", ""))[0],
            })
        for topic, partition, message, rules in opening.refused_records:
            decision = DENIED
            self.journal("guard_hit", self, {"api": opening.head.api_key, "topic": topic.decode("utf-8", "replace"),
                                             "details": {"partition": partition}, "reason": message, "rules": rules})
        for rule in opening.condition_errors:
            self.tell_once(("condition_error", opening.head.api_key, rule), "condition_error",
                           {"api": opening.head.api_key, "rule": rule})
        return decision

    cdef int tell_once(self, object key, str kind, dict fields) except -1:
        """A client that repeats what is refused would fill the audit, and with it stop everybody's produces."""
        known = self.told.get(key)
        if known is not None:
            known[1] += 1
        elif len(self.told) < MOST_TOLD:
            self.told[key] = [kind, 0, fields]
            self.journal(kind, self, fields)
        else:
            self.untold += 1
        return 0

    def tell_repeats(self):
        """Once a second, and at the end: how often what was told has happened again since."""
        told, self.told = self.told, {}
        untold, self.untold = self.untold, 0
        for kind, repeated, fields in told.values():
            if repeated:
                self.journal(kind, self, {**fields, "details": {"repeated": repeated}})
        if untold:
            self.journal("denied", self, {"details": {"more": untold}})

    def forget_decisions(self):
        """Everything is decided anew from the next look on."""
        self.table.clear()

    # -- the broker's side ----------------------------------------------------------------------------------------------

    cdef int broker_frame(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        cdef Opening opening = self.opening
        cdef Slot* slot
        cdef int32_t correlation = 0
        if self.state == CLOSED:
            return STOP
        if self.slots.count == 0:
            return self.close(CloseCause.UNEXPECTED_RESPONSE) or STOP
        slot = self.slots.head()
        opening.begin(chunk, at + 4, size - 4, now)
        opening.head.api_key = slot.api_key
        opening.head.api_version = slot.api_version
        opening.head.correlation = slot.correlation
        opening.body = walk_response_head(slot.api_key, slot.api_version, opening.data, opening.length, &correlation)
        if opening.body < 0 or correlation != slot.correlation:
            return self.close(CloseCause.UNEXPECTED_RESPONSE) or STOP
        if self.seen_epoch != self.epoch.value:
            self.take_epoch()
        if slot.memo != NULL or apis.opens_answers(slot.api_key):
            if not opening.walk(True):
                return self.close(CloseCause.MALFORMED_RESPONSE) or STOP
            self.open_response(slot)
            if opening.treatment == CLOSE:
                return self.close(CloseCause.MALFORMED_RESPONSE) or STOP
            if opening.denials or opening.refused_records or opening.condition_errors:
                self.tell()
            self.settle(slot, now)
        if opening.treatment == FORWARD:
            self.to_client.forward(chunk, at, size)
        elif opening.treatment == ANSWER:
            self.to_client.add(opening.answer)
        else:
            for segment in opening.segments:
                self.to_client.add(segment)
        if slot.api_key < APIS:
            self.counters.answered(slot.api_key, now - slot.started)
        self.slots.pop()
        self.release_answers(now)
        return TAKEN

    cdef int open_response(self, Slot* slot) except -1:
        return apis.open_response(self.opening, <object>slot.memo if slot.memo != NULL else None)

    cdef int settle(self, Slot* slot, double now) except -1:
        """Notes of an answer: an outcome takes records and size from its intent, and both go into the session's flow."""
        cdef Opening opening = self.opening
        cdef NoteRow* row
        cdef Intent* intent
        cdef int i
        for i in range(opening.note_count):
            row = &opening.notes[i]
            if row.kind == OUTCOME:
                intent = find_intent(slot, row)
                if intent != NULL:
                    row.records = intent.records
                    row.size = intent.size
                    if row.first_offset >= 0 and row.error == 0:
                        row.last_offset = row.first_offset + intent.records - 1
            else:
                self.counters.records_out += row.records
            self.ledger.add(self.number, opening.head.correlation, row)
            if row.error == 0 and row.first_offset >= 0 and row.last_offset >= row.first_offset:
                self.flow.add(row.kind, row.topic, row.topic_length, row.partition, row.first_offset, row.last_offset,
                              row.records, row.size, now)
        return 0

    # -- answers in order -------------------------------------------------------------------------------------------------

    cdef int answer(self, bytes frame, double now) except -1:
        """A local answer waits behind every earlier request's."""
        if self.slots.count == 0:
            return self.to_client.add(frame)
        return self.slots.push_reply(self.opening, frame, now)

    cdef int release_answers(self, double now) except -1:
        cdef Slot* slot
        while self.slots.count:
            slot = self.slots.head()
            if slot.reply == NULL:
                break
            self.to_client.add(<object>slot.reply)
            self.slots.pop()
        return 0

    cpdef close(self, object cause):
        """The first cause stands. What is already bound for the client still goes out."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.cause = str(cause)
            self.waiting = None

    def unanswered(self):
        """Produces forwarded whose outcome is not known."""
        return self.slots.unanswered()
