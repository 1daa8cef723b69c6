"""The only holder of sockets; see the .pxd for the picture."""
cimport cython
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from kproxy._ext.frame cimport FRAME, NEED_DATA, TOO_BIG, scan_frame
from kproxy._ext.session cimport CLOSED, ENDING, LOGIN, OPEN, OURS, REAUTHENTICATING, STOP, TAKEN
from kproxy._ext.sockets cimport Sockets
from kproxy._ext.tls cimport SECURED, TlsLink
from kproxy._ext.tls_records cimport Records

from uvloop.loop import TCPTransport

from kproxy.errors import CloseCause

cdef enum:
    BEFORE_LOGIN = 524288       # Kafka's own limit for frames of the SASL phase
    LEAST_REQUEST = 14          # bytes: size, API, version, correlation, the length of a client id
    LEAST_SEALED = 36           # the same in a record of TLS, which its farewell is shorter than
    TLS_HANDSHAKE = 0x16        # the first byte of a TLS client; as a size it is above every limit before login

cdef double LEAST_PAUSE = 0.0005        # seconds; a clock that is read twice may differ by as much
cdef double LONGEST_LOOK = 0.001        # seconds until the loop's other work is let in between


cdef inline double read_clock() noexcept:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return now.tv_sec + now.tv_nsec * 1e-9


cdef class Turn:
    def __init__(self, loop, Ledger ledger):
        self.loop = loop
        self.ledger = ledger
        self.touched = []

    cdef int add(self, ClientHalf client) except -1:
        self.touched.append(client)
        if not self.looking:
            self.schedule()
        return 0

    cdef int schedule(self) except -1:
        if not self.scheduled:
            self.scheduled = True
            self.loop.call_soon(self.run)
        return 0

    def run(self):
        """Notes first, bytes second. Connections whose notes could not be written are closed with nothing sent."""
        cdef list touched = self.touched
        cdef ClientHalf client
        self.touched = []
        self.scheduled = False
        cdef bint noted = self.ledger.commit()
        cdef double now = read_clock()      # After the commit: a disk may have taken its time.
        for client in touched:
            client.touched = False
            try:
                client.flush(noted, now)
            except Exception as error:
                # The others have their turn all the same.
                client.fail(error)
                client.end()

    cdef int adopt(self, Half half) except -1:
        """From the loop's next turn on the bytes of a connection are moved by its wire, once TLS has shaken hands."""
        cdef Records records = None
        transport = half.transport
        if type(transport) is TlsLink and (<TlsLink>transport).state == SECURED:
            records = (<TlsLink>transport).records
            transport = (<TlsLink>transport).transport
        if type(transport) is TCPTransport:
            if self.sockets is None:
                self.sockets = Sockets(self.wake)
                self.loop.add_reader(self.sockets.fileno(), self.look)
            half.adopt(self.sockets, records)
            # Only then: a transport begins to read after it has told of the connection.
            self.loop.call_soon(half.take_over)
        return 0

    def wake(self):
        if not self.woken and not self.looking:
            self.woken = True
            self.loop.call_soon(self.look)

    def look(self):
        """Takes what is ready, runs the turn, and looks again as long as there is something, within LONGEST_LOOK."""
        cdef double began = read_clock(), now
        cdef int found
        self.woken = False
        self.looking = True
        try:
            while True:
                found = self.sockets.look()
                if self.touched:
                    self.run()
                elif not found:
                    break
                now = read_clock()
                if not began <= now < began + LONGEST_LOOK:
                    break
        finally:
            self.looking = False
            if self.touched:
                self.schedule()
            if self.sockets.again:
                self.wake()


@cython.final
cdef class BrokerHalf(Half):
    """The broker's end. ``login`` is spoken first: ``start() -> bytes``, ``receive_frame(bytes) -> bytes | None``, ``done``."""

    def __init__(self, ClientHalf client, login):
        self.client = client
        self.login = login
        self.reading = True

    def connection_made(self, transport):
        self.begin(transport)
        self.client.turn.adopt(self)
        if self.login is not None:
            first = self.login.start()
            if first:
                self.wire.write(first)

    cdef int take(self) except -1:
        cdef ClientHalf client = self.client
        if client.broker is not self:
            return self.wire.abort()        # See connection_lost.
        cdef double now = read_clock()
        cdef Py_ssize_t size
        cdef int status = FRAME, taken
        while status == FRAME and self.chunk is not None and client.session.answer_needs is None:
            size = 0
            status = scan_frame(self.chunk.data + self.chunk.start, self.chunk.filled - self.chunk.start,
                                client.limit_of_answers(), &size)
            if status == NEED_DATA:
                self.wanted = size
            elif status != FRAME:
                client.session.close(CloseCause.MALFORMED_RESPONSE)
                break
            elif self.login is not None:
                self.take_login(size)
            else:
                try:
                    taken = client.session.broker_frame(self.chunk, self.chunk.start, size, now)
                except Exception as error:
                    client.fail(error)
                    break
                if taken == OURS:
                    self.take_renewal(size, now)
                    continue
                if taken != TAKEN:
                    break
                self.usual = size
                self.chunk.start += size
        client.session.let_go()
        self.tidy()
        return client.after_events()

    cdef take_login(self, Py_ssize_t size):
        frame = self.chunk.data[self.chunk.start:self.chunk.start + size]
        self.chunk.start += size
        try:
            answer = self.login.receive_frame(frame)
        except Exception as error:
            self.client.shell.broker_refused(self.client, error)
            return
        if answer:
            self.wire.write(answer)
        if self.login.done:
            self.renewal = self.login
            self.login = None
            self.client.shell.broker_ready(self.client)

    cdef int take_renewal(self, Py_ssize_t size, double now) except -1:
        """One answer of a login that is spoken anew. What the client sent meanwhile goes on behind the last."""
        cdef ClientHalf client = self.client
        frame = self.chunk.data[self.chunk.start:self.chunk.start + size]
        self.chunk.start += size
        if client.session.state >= ENDING:
            return 0
        try:
            answer = self.renewal.receive_frame(frame)
        except Exception as error:
            client.shell.broker_refused(client, error)
            return 0
        if answer is not None:
            return client.session.ask_broker(answer, now)
        self.renewing = False
        client.shell.broker_renewed(client)
        client.turn.loop.call_soon(client.resumed_broker)
        return 0

    cdef int on_full(self) except -1:
        self.full = True
        return self.client.balance()

    cdef int on_room(self) except -1:
        self.full = False
        return self.client.go_on(read_clock())

    cdef int on_failed(self, object error) except -1:
        return self.client.on_failed(error)

    def connection_lost(self, error):
        self.transport = None
        self.wire.lost()
        if self.client.broker is not self:
            return      # One address was too slow to answer, and the connection to the next has taken its place.
        self.client.session.close(CloseCause.BROKER_CLOSED)
        self.client.after_events()


@cython.final
cdef class ClientHalf(Half):
    """The client's end. ``shell`` does what needs time or files: ``opened``, ``ask``, ``broker_ready``, ``closed``."""

    def __init__(self, Session session, shell, Turn turn, Py_ssize_t limit, Py_ssize_t most_queued):
        self.session = session
        self.shell = shell
        self.turn = turn
        self.limit = limit
        self.limit_before_login = min(limit, <Py_ssize_t>BEFORE_LOGIN)
        self.most_queued = most_queued
        self.reading = True

    def connection_made(self, transport):
        self.begin(transport)
        self.turn.adopt(self)
        self.connected_at = self.heard_at = read_clock()
        self.shell.opened(self)

    def secured(self):
        """TLS has shaken hands."""
        self.turn.adopt(self)

    cdef int take(self) except -1:
        self.heard_at = read_clock()
        return self.go_on(self.heard_at)

    cdef int take_frames(self, double now) except -1:
        cdef Session session = self.session
        cdef Py_ssize_t size
        cdef int status, taken
        while self.chunk is not None and session.waiting is None and not self.stalled():
            size = 0
            status = scan_frame(self.chunk.data + self.chunk.start, self.chunk.filled - self.chunk.start,
                                self.limit if session.state == OPEN else self.limit_before_login, &size)
            if status == NEED_DATA:
                self.wanted = size
                return 0
            if status != FRAME:
                if session.state == LOGIN and self.chunk.data[self.chunk.start] == TLS_HANDSHAKE:
                    session.close(CloseCause.TLS_ON_PLAINTEXT)
                else:
                    session.close(CloseCause.TOO_BIG if status == TOO_BIG else CloseCause.BAD_LENGTH)
                return 0
            try:
                taken = session.client_frame(self.chunk, self.chunk.start, size, now)
            except Exception as error:
                self.fail(error)
                return 0
            if taken == TAKEN:
                session.counters.bytes_in += size
                self.usual = size
                self.chunk.start += size
            else:
                return 0
        return 0

    cdef bint stalled(self) noexcept:
        """True while either end has as much queued as it may: nothing more is taken from the client."""
        cdef Session session = self.session
        return (self.full or session.muted or (self.broker is not None and (self.broker.full or self.broker.renewing))
                or session.state >= ENDING
                or session.to_broker.queued + session.to_client.queued + session.slots.waiting > self.most_queued)

    cdef Py_ssize_t limit_of_answers(self) noexcept:
        """A broker is trusted with more than a client: whatever a fetch may legally bring."""
        return 0x7FFFFFFF

    cdef int after_events(self) except -1:
        """Whatever just happened: tickets go to the shell, lanes and closing to the turn, reading follows."""
        cdef Session session = self.session
        if session.mute_for > 0:
            self.mute()
        if session.waiting is not None and not self.asked:
            self.asked = True
            self.shell.ask(self, session.waiting)
        if session.answer_needs is not None and not self.answer_asked:
            self.answer_asked = True
            self.shell.ask_for_answer(self, session.answer_needs)
        if not self.touched and (session.to_client.queued or session.to_broker.queued
                                 or (session.state == CLOSED and not self.closing)):
            self.touched = True
            self.turn.add(self)
        return self.balance()

    cdef int mute(self) except -1:
        """A quota is used up. What is under way is answered, and nothing more is taken for a while (KIP-219)."""
        cdef double until = self.turn.loop.time() + self.session.mute_for
        self.session.mute_for = 0
        if self.transport is None:
            return 0
        if self.mute_timer is None:
            self.mute_timer = self.turn.loop.call_at(until, self.on_mute_over)
            self.muted_until = until
        self.muted_until = max(self.muted_until, until)
        return self.on_hung_up() if self.wire.hung_up else 0

    cdef int on_hung_up(self) except -1:
        """A client that has left and said all it had to say need not wait. What it wrote before is taken in its time."""
        cdef Py_ssize_t least = LEAST_REQUEST if self.records is None else LEAST_SEALED
        if self.session.muted and self.chunk is None and self.wire.left() < least:
            self.session.close(CloseCause.CLIENT_CLOSED)
            return self.after_events()
        return 0

    def on_mute_over(self):
        if self.turn.loop.time() + LEAST_PAUSE < self.muted_until:
            self.mute_timer = self.turn.loop.call_at(self.muted_until, self.on_mute_over)
            return
        self.unmute()

    cdef int forget_mute(self) except -1:
        if self.mute_timer is not None:
            self.mute_timer.cancel()
            self.mute_timer = None
        return 0

    def unmute(self):
        """The time is over, or other quotas are in force: what waits is taken."""
        self.forget_mute()
        self.session.mute_for = 0
        if self.session.muted:
            self.session.muted = False
            self.heard_at = read_clock()    # Until now it was not listened to.
            self.go_on(self.heard_at)

    cdef int balance(self) except -1:
        """Reads from an end only while what it sends can be passed on."""
        cdef bint open_ = self.session.state != CLOSED
        self.read_or_pause(open_ and self.session.waiting is None and not self.stalled())
        if self.broker is not None and self.broker.login is None:
            self.broker.read_or_pause(open_ and not self.full and self.session.answer_needs is None)
        return 0

    cdef int flush(self, bint noted, double now) except -1:
        cdef Session session = self.session
        if not noted:
            session.close(CloseCause.AUDIT_UNAVAILABLE)
            session.to_broker.clear()
            session.to_client.clear()
        if now >= session.authentication.expires_at:
            self.cut(CloseCause.SESSION_EXPIRED)
            return 0
        self.sent += session.to_client.queued
        session.counters.bytes_out += session.to_client.queued
        if self.broker is not None and self.broker.wire is not None:
            self.broker.wire.send(session.to_broker)
        else:
            session.to_broker.clear()
        self.wire.send(session.to_client)
        if session.state == CLOSED:
            self.end()
        elif self.chunk is not None and not self.full:
            self.go_on(now)         # What was left because of the lanes' limit can be taken now.
        return 0

    def fail(self, error):
        """Our own failure: refuse, close, say so; never pass on."""
        self.shell.failed(self, error)
        self.session.close(CloseCause.INTERNAL)

    def end(self):
        if self.closing:
            return
        self.closing = True
        if self.broker is not None and self.broker.wire is not None:
            self.broker.wire.close()
        self.wire.close()

    def abort(self):
        """Ends both connections at once; what is still queued on them is lost. For peers that read nothing."""
        self.closing = True
        if self.broker is not None and self.broker.wire is not None:
            self.broker.wire.abort()
        self.wire.abort()

    def cut(self, cause):
        """Access has ended: nothing that still waits here may reach either end any more."""
        cdef Session session = self.session
        session.close(cause)
        session.to_broker.clear()
        session.to_client.clear()
        if self.wire.queued() or (self.broker is not None and self.broker.wire is not None
                                  and self.broker.wire.queued()):
            self.abort()
        else:
            self.end()

    def close(self, cause):
        """From outside: drain, idleness. What is bound for the client still goes out."""
        self.session.close(cause)
        self.after_events()

    # -- the shell answers ----------------------------------------------------------------------------------------------

    def attach_broker(self, login):
        """The protocol for the connection to the broker; ``login`` is spoken on it before the session's frames."""
        self.broker = BrokerHalf(self, login)
        return self.broker

    def broker_lifetime(self):
        """Seconds that the broker lets its last login last, 0 for ever."""
        return self.broker.renewal.lifetime if self.broker is not None and self.broker.renewal is not None else 0.0

    def renew_broker(self):
        """Logs in to the broker anew on the live connection; requests under way keep their places."""
        if self.session.state not in (OPEN, REAUTHENTICATING) or self.broker is None or self.broker.renewing \
                or self.broker.transport is None or self.broker.renewal is None:
            return
        self.broker.renewing = True
        self.session.ask_broker(self.broker.renewal.start(), read_clock())
        self.after_events()

    def resumed_broker(self):
        """The broker is logged in to anew: go on with the frames that waited."""
        self.go_on(read_clock())

    def resumed(self):
        """After any resume_* or refuse_* of the session: go on with the frames that waited."""
        self.asked = False
        self.go_on(read_clock())

    def resumed_answer(self):
        """After ``resume_answer`` of the session."""
        self.answer_asked = False
        if self.broker is not None:
            self.broker.take()

    cdef int go_on(self, double now) except -1:
        """Takes what was left in the buffer while something had to be waited for."""
        self.take_frames(now)
        self.session.let_go()
        self.tidy()
        return self.after_events()

    cdef int on_full(self) except -1:
        self.full = True
        return self.balance()

    cdef int on_room(self) except -1:
        self.full = False
        return self.go_on(read_clock())

    cdef int on_failed(self, object error) except -1:
        self.fail(error)
        self.end()
        return 0

    def eof_received(self):
        self.session.close(CloseCause.CLIENT_CLOSED)
        self.after_events()
        return False

    def connection_lost(self, error):
        self.transport = None
        self.wire.lost()
        self.forget_mute()
        self.session.close(CloseCause.CLIENT_CLOSED)
        self.end()
        self.shell.closed(self)

