"""One client connection as a pure machine; states, tickets and fields are in the .pxd."""
from kproxy._ext cimport apis, produce
from kproxy._ext.apis cimport APIS
from kproxy._ext.authentication cimport GREETING, SETTLED, VERIFYING, PROVEN
from kproxy._ext.ledger cimport ALLOWED, ASKED, DENIED, LOCAL, WOULD_DENY
from kproxy._ext.opening cimport ANSWER, CLOSE, FORWARD, OUTCOME, REPLACE, WAIT, NoteRow
from kproxy._ext.quota cimport read_throttle, tell_throttle, with_throttle
from kproxy._ext.request cimport HEAD_BAD, UNKNOWN_API, walk_request_head, walk_response_head
from kproxy._ext.slots cimport OWN, Intent, Slot, Slots, find_intent

from kproxy.errors import CloseCause, WireError

cdef enum:
    PRODUCE = 0
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    SASL_AUTHENTICATE = 36
    ASK_AGAIN = 5                   # seconds after which an answer about an approval is no longer taken for granted
    MOST_TOLD = 256                 # different refusals told one by one within a second

cdef tuple COUNTED = ("guard_hit", "safeguard")
cdef tuple PHASES = ("login", "open", "reauthenticating", "ending", "closed")


cdef class Epoch:
    def __init__(self, long value=0):
        self.value = value


cdef class Told:
    def __cinit__(self, str kind, dict fields):
        self.kind = kind
        self.fields = fields
        self.rules = {}


cdef class Session:
    def __cinit__(self, number, mechanisms, Addresses addresses, decide, Epoch epoch, Ledger ledger, Counters counters,
                  journal, facts=None):
        self.number = number
        self.authentication = Authentication(mechanisms, facts)
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
        self.slots = Slots()
        self.told = {}

    @property
    def facts(self):
        """kproxy.model.access.Facts once known: those of the last token that proved something."""
        return self.authentication.facts

    @property
    def client_id(self):
        return self.authentication.client_id

    @property
    def client_software(self):
        return self.authentication.client_software

    @property
    def phase(self):
        """One word for people: ``login``, ``open``, ``reauthenticating``, ``ending``, ``closed``."""
        return PHASES[self.state]

    # -- the client's side ------------------------------------------------------------------------------------------

    cdef int client_frame(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        """One whole frame, ``size`` bytes at ``at`` of ``chunk``, its four length bytes included. Gives TAKEN, HELD, STOP."""
        cdef Opening opening = self.opening
        cdef int status
        if self.state >= ENDING:
            return STOP
        # SAFETY: the chunk outlives this call, and nothing keeps the pointer after it.
        opening.begin(chunk, at + 4, size - 4, now)
        status = walk_request_head(opening.data, opening.length, &opening.head)
        if status == HEAD_BAD or (status == UNKNOWN_API and opening.head.api_key != API_VERSIONS):
            bad_start = self.authentication.state == GREETING and status == HEAD_BAD
            self.close(CloseCause.NOT_KAFKA if bad_start else CloseCause.UNKNOWN_API)
            return STOP
        opening.body = opening.head.body
        if now >= self.authentication.expires_at:
            # A handshake comes too late then. Kafka would still take it, but Kafka does not look before a request comes.
            self.close(CloseCause.SESSION_EXPIRED)
            return STOP
        if self.state != OPEN:
            self.requests += 1
            return self.authenticate(now)
        if self.seen_epoch != self.epoch.value:
            self.take_epoch()
        elif opening.asked:
            # A request may have timed out since, or the control process come back: nobody publishes either.
            if self.answered_at < 0:
                self.answered_at = now
            elif not 0 <= now - self.answered_at <= ASK_AGAIN:
                opening.asked.clear()
        status = self.serve(chunk, at, size, now)
        self.throttle_ms = 0
        return status

    cdef void charge(self, Py_ssize_t size) noexcept:
        """A request is taken, and counts. Its answer, whoever gives it, says how long the connection waits for that."""
        if self.budgets is not None:
            self.throttle_ms = self.throttle(self.budgets.on_request(self.opening.head.api_key, size))

    cdef int32_t throttle(self, double delay) noexcept:
        """The connection waits; gives the milliseconds to tell."""
        if delay <= 0:
            return 0
        self.muted = True
        self.mute_for = max(self.mute_for, delay)
        return <int32_t>(delay * 1000 + 1)

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
        self.opening.named = None
        self.opening.segments = None
        self.opening.answer = None

    cdef int authenticate(self, double now) except -1:
        """A frame that is about who the client is. While that is open nothing else is served."""
        cdef bint taken = self.authentication.receive(self.opening, now)
        return self.follow(taken, now)

    cdef int follow(self, bint taken, double now) except -1:
        """Carries out what the authentication has left to do: say something in its turn, ask, end."""
        cdef Authentication authentication = self.authentication
        cdef bytes said = authentication.said
        if authentication.state == SETTLED:
            self.state = OPEN
        elif authentication.again:
            self.state = REAUTHENTICATING
        self.waiting = authentication.ticket
        authentication.said = None
        authentication.ticket = None
        if said is not None:
            self.answer(said, now)
        if authentication.cause is not None:
            self.finish(authentication.cause)
            return STOP
        return TAKEN if taken else HELD

    cdef int take_promise(self, object promise) except -1:
        cdef int api
        self.authentication.promise = promise
        for api in range(APIS):
            self.lowest[api], self.highest[api] = promise.ranges.get(api, (0, -1))
        return 0

    cdef bint serves(self, int api, int version) noexcept:
        return 0 <= api < APIS and self.lowest[api] <= version <= self.highest[api]

    # -- verdicts the shell brings ------------------------------------------------------------------------------------

    def resume_versions(self, promise):
        """``promise``: a kproxy._ext.login.Promise, or None: no broker could be asked."""
        self.waiting = None
        if promise is None:
            self.close(CloseCause.BROKER_UNREACHABLE)
        else:
            self.take_promise(promise)

    def resume_login(self, facts, double now):
        """The token proved who the client is. On an open session the old facts end here: everything is decided anew."""
        cdef bint again = self.authentication.again
        if self.state >= ENDING or self.authentication.state != VERIFYING:
            return
        self.authentication.prove(facts, now)
        if again:
            self.forget_decisions()
            self.opening.asked.clear()
        self.follow(True, now)

    def refuse_login(self, str message, challenge, double now):
        """``challenge``: the RFC 7628 error JSON for OAUTHBEARER, after which the client gets its 58; else None."""
        if self.state >= ENDING or self.authentication.state != VERIFYING:
            return
        self.authentication.refuse(message, challenge)
        self.follow(True, now)

    def resume_broker(self, promise, double now):
        """The broker's connection is up and logged in. What is promised may have changed since it was told."""
        if self.state >= ENDING or self.authentication.state != PROVEN:
            return
        self.take_promise(promise)
        self.authentication.settle(now)
        self.follow(True, now)

    def resume_approval(self, answers):
        """``answers``: {ApprovalWanted: (request id, state)}."""
        self.waiting = None
        self.opening.asked.update(answers)
        self.answered_at = -1

    def resume_topic_ids(self):
        """The names of the ids are known now, as far as there are any: no id is asked for twice for one frame."""
        self.waiting, self.opening.looked_up = None, True

    def resume_schemas(self):
        self.waiting, self.schemas_asked = None, True

    def resume_answer(self):
        self.answer_needs, self.answer_asked = None, True

    # -- serving ------------------------------------------------------------------------------------------------------

    cdef int serve(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        cdef Opening opening = self.opening
        cdef int api = opening.head.api_key
        cdef int decision
        if api in (SASL_HANDSHAKE, SASL_AUTHENTICATE, API_VERSIONS):
            self.charge(size)
            return self.authenticate(now)
        if not self.serves(api, opening.head.api_version) and not apis.refuses(api, opening.head.api_version):
            self.close(CloseCause.UNKNOWN_API)
            return STOP
        if not opening.walk(False):
            self.close(CloseCause.MALFORMED_REQUEST)
            return STOP
        opening.schemas_asked = self.schemas_asked
        self.open_request()
        if opening.lacks_schemas() or opening.treatment == WAIT:
            self.waiting = opening.ticket()
            return HELD
        opening.looked_up = self.schemas_asked = False
        self.requests += 1
        decision = (self.tell() if opening.denials or opening.refused_records or opening.guarded
                    or opening.condition_errors else ALLOWED)
        if opening.treatment == ANSWER and decision == ALLOWED:
            decision = LOCAL
        self.counters.requests[api][decision] += 1
        self.charge(size)
        return self.forward_opened(chunk, at, size, now)

    cdef int open_request(self) except -1:
        if self.opening.head.api_key == PRODUCE and self.ledger.refusing:
            return produce.refuse_unaudited(self.opening)
        return apis.open_request(self.opening)

    cdef int forward_opened(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        cdef Opening opening = self.opening
        cdef Slot* slot
        cdef int i
        if opening.treatment == CLOSE:
            self.finish(opening.cause)
            return STOP
        if opening.treatment == ANSWER:
            self.answer(opening.answer, now)
            return TAKEN
        for i in range(opening.note_count):
            self.ledger.add(self.number, opening.head.correlation, &opening.notes[i])
        self.counters.records_in += opening.records
        if opening.acks != 0:
            slot = self.slots.push(opening, now)
            slot.throttle_ms = self.throttle_ms
            if opening.memo is not None or opening.named is not None or opening.note_count:
                self.slots.remember(slot, opening)
        if opening.treatment == FORWARD:
            self.to_broker.forward(chunk, at, size)
        else:
            for segment in opening.segments:
                self.to_broker.add(segment)
        if opening.cause is not None:
            self.finish(opening.cause)
            return STOP
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
        for topic, partition, message, rules, offset in opening.refused_records:
            decision = DENIED
            name = topic.decode("utf-8", "replace")
            details = {"partition": partition} if offset < 0 else {"partition": partition, "offset": offset}
            self.tell_once(("guard_hit", opening.head.api_key, name, partition, message, offset), "guard_hit", {
                "api": opening.head.api_key, "topic": name, "details": details, "reason": message, "rules": rules,
            })
        for name, safeguard, action, why, details in opening.guarded:
            if action == "refuse":
                decision = DENIED
            elif safeguard.observed and decision == ALLOWED:
                decision = WOULD_DENY
            self.tell_once(("safeguard", opening.head.api_key, name, safeguard.rule.name, action), "safeguard", {
                "api": opening.head.api_key, "topic": name.decode("utf-8", "replace"), "details": details,
                "decision": action, "would": safeguard.rule.action if safeguard.observed else "",
                "reason": why, "rule": safeguard.rule.name, "rules": {safeguard.rule.name: 1},
            })
        for rule in opening.condition_errors:
            self.tell_once(("condition_error", opening.head.api_key, rule), "condition_error",
                           {"api": opening.head.api_key, "rule": rule})
        return decision

    cdef int tell_once(self, object key, str kind, dict fields) except -1:
        """A client that repeats what is refused would fill the audit, and with it stop everybody's produces."""
        cdef Told known = self.told.get(key)
        if known is None and len(self.told) >= MOST_TOLD:
            if kind not in COUNTED:
                self.untold += 1
                return 0
            # Metrics count the hits of each rule by these events, so those that are not told one by one are summed up.
            sum_of = {"decision": fields["decision"]} if "decision" in fields else {}
            known = self.told.setdefault((kind, *sum_of.values()), Told(kind, sum_of))
        if known is None:
            self.told[key] = Told(kind, fields)
            self.journal(kind, self, fields)
        else:
            known.repeated += 1
            for rule, hits in fields.get("rules", {}).items():
                known.rules[rule] = known.rules.get(rule, 0) + hits
        return 0

    def tell_repeats(self):
        """Once a second, and at the end: how often what was told has happened again since."""
        cdef Told one
        told, self.told = self.told, {}
        untold, self.untold = self.untold, 0
        for one in told.values():
            if one.repeated:
                details = ({**one.fields.get("details", {}), "repeated": one.repeated} if "api" in one.fields
                           else {"more": one.repeated})
                self.journal(one.kind, self, {**one.fields, "details": details,
                                              **({"rules": one.rules} if one.rules else {})})
        if untold:
            self.journal("denied", self, {"details": {"more": untold}})

    def forget_decisions(self):
        """Everything is decided anew from the next frame on."""
        self.table.clear()

    # -- the broker's side ----------------------------------------------------------------------------------------------

    cdef int broker_frame(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, double now) except -1:
        cdef Opening opening = self.opening
        cdef Slot* slot
        cdef int32_t correlation = 0
        cdef bint expired, opens
        if self.state == CLOSED:
            return STOP
        expired = now >= self.authentication.expires_at
        if expired or self.slots.count == 0:
            self.close(CloseCause.SESSION_EXPIRED if expired else CloseCause.UNEXPECTED_RESPONSE)
            return STOP
        slot = self.slots.head()
        if slot.api_key == OWN:
            self.slots.pop()
            self.release_answers(now)
            return OURS
        opening.begin(chunk, at + 4, size - 4, now)
        self.slots.recall(slot, opening)
        opening.body = walk_response_head(slot.api_key, slot.api_version, opening.data, opening.length, &correlation)
        if opening.body < 0 or correlation != slot.correlation:
            self.close(CloseCause.UNEXPECTED_RESPONSE)
            return STOP
        if self.seen_epoch != self.epoch.value:
            self.take_epoch()
        opens = slot.memo != NULL or apis.opens_answers(slot.api_key)
        if opens and not opening.walk(True):
            self.close(CloseCause.MALFORMED_RESPONSE)
            return STOP
        if self.budgets is not None and not self.answer_asked:
            slot.throttle_ms = max(slot.throttle_ms, self.throttle(self.budgets.on_answer(slot.api_key, size)))
        if slot.throttle_ms:
            tell_throttle(opening, slot.throttle_ms, opens)
        if opens:
            opening.schemas_asked = self.answer_asked
            self.open_response(slot)
            if opening.lacks_schemas():
                self.answer_needs = list(opening.missing)
                return HELD
            self.answer_asked = False
            if opening.treatment == CLOSE:
                self.close(CloseCause.MALFORMED_RESPONSE)
                return STOP
            if opening.denials or opening.refused_records or opening.guarded or opening.condition_errors:
                self.tell()
            self.settle(slot, now)
        return self.pass_on(chunk, at, size, slot, now)

    cdef int pass_on(self, Chunk chunk, Py_ssize_t at, Py_ssize_t size, Slot* slot, double now) except -1:
        cdef Opening opening = self.opening
        if opening.treatment == FORWARD:
            self.to_client.forward(chunk, at, size)
        elif opening.treatment == ANSWER:
            # Built anew from the broker's, which may have had to say of its own quota.
            self.to_client.add(with_throttle(opening, opening.answer, max(slot.throttle_ms, read_throttle(opening))))
        else:
            for segment in opening.segments:
                self.to_client.add(segment)
        if slot.api_key < APIS:
            self.counters.answered(slot.api_key, now - slot.started)
        self.slots.pop()
        self.release_answers(now)
        return TAKEN

    cdef int ask_broker(self, bytes frame, double now) except -1:
        """A request of kproxy's own, in its turn: the broker answers it after all that stands before it."""
        self.slots.push_own(now)
        return self.to_broker.add(frame)

    cdef int open_response(self, Slot* slot) except -1:
        try:
            return apis.open_response(self.opening, <object>slot.memo if slot.memo != NULL else None)
        except WireError:
            # Well formed, and yet none that can be read: a host that is no text.
            self.opening.treatment = CLOSE
            return 0

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
                self.flow.add(row, now)
        return 0

    # -- answers in order -------------------------------------------------------------------------------------------------

    cdef int answer(self, bytes frame, double now) except -1:
        """A local answer waits behind every earlier request's."""
        frame = with_throttle(self.opening, frame, self.throttle_ms)
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
        if self.state == ENDING and self.slots.count == 0:
            self.close(self.ending)
        return 0

    cdef int finish(self, object cause) except -1:
        """The end, once every earlier request has its answer: the refusal that stands behind them is part of it."""
        if self.slots.count == 0:
            self.close(cause)
        elif self.state < ENDING:
            self.state = ENDING
            self.ending = str(cause)
            self.waiting = None
        return 0

    cpdef close(self, object cause):
        """The first cause stands. What is already bound for the client still goes out."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.cause = str(cause)
            self.waiting = self.answer_needs = None

    def unanswered(self):
        """Produces forwarded whose outcome is not known."""
        return self.slots.unanswered()
