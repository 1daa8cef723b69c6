"""The only holder of sockets; see the .pxd for the picture."""
cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from libc.string cimport memcpy
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec

from kproxy._ext.chunk cimport take_chunk
from kproxy._ext.frame cimport BAD_LENGTH, FRAME, NEED_DATA, TOO_BIG, scan_frame
from kproxy._ext.session cimport CLOSED, ENDING, LOGIN, OPEN, OURS, REAUTHENTICATING, STOP, TAKEN

from kproxy.errors import CloseCause

cdef enum:
    CHUNK = 131072
    LEAST_ROOM = 16384          # below this a read would come in crumbs
    BEFORE_LOGIN = 524288       # Kafka's own limit for frames of the SASL phase
    HIGH_WATER = 1048576
    TLS_HANDSHAKE = 0x16        # the first byte of a TLS client; as a size it is above every limit before login


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


cdef class Half:
    def __getbuffer__(self, Py_buffer* view, int flags):
        # SAFETY: the transport fills this room before the next buffer_updated and lets go; the chunk is held meanwhile,
        # and moves only in get_buffer.
        PyBuffer_FillInfo(view, self, self.chunk.data + self.chunk.filled, self.chunk.size - self.chunk.filled, 0, flags)

    def get_buffer(self, hint):
        cdef Chunk old = self.chunk
        cdef Py_ssize_t kept
        if old is None:
            self.chunk = take_chunk(CHUNK)
        elif old.size - old.filled < LEAST_ROOM or self.wanted > old.size - old.start:
            kept = old.filled - old.start
            self.chunk = take_chunk(max(<Py_ssize_t>CHUNK, max(self.wanted, kept + LEAST_ROOM)))
            memcpy(self.chunk.data, old.data + old.start, kept)
            self.chunk.filled = kept
        return self

    def buffer_updated(self, Py_ssize_t count):
        self.chunk.filled += count
        self.received += count
        self.take()

    cdef int take(self) except -1:
        raise NotImplementedError

    cdef int read_or_pause(self, bint may) except -1:
        if may == self.reading or self.transport is None or self.transport.is_closing():
            return 0
        self.reading = may
        if may:
            self.transport.resume_reading()
        else:
            self.transport.pause_reading()
        return 0

    cdef int tidy(self) except -1:
        """A buffer with nothing unfinished in it goes back, so that idle connections hold none."""
        if self.chunk is not None and self.chunk.start == self.chunk.filled:
            self.chunk = None
            self.wanted = 0
        return 0

    def eof_received(self):
        return False


@cython.final
cdef class BrokerHalf(Half):
    """The broker's end. ``login`` is spoken first: ``start() -> bytes``, ``receive_frame(bytes) -> bytes | None``, ``done``."""

    def __init__(self, ClientHalf client, login):
        self.client = client
        self.login = login
        self.reading = True

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        if self.login is not None:
            first = self.login.start()
            if first:
                transport.write(first)

    cdef int take(self) except -1:
        cdef ClientHalf client = self.client
        if client.broker is not self:
            self.transport.abort()      # See connection_lost.
            return 0
        cdef double now = read_clock()
        cdef Py_ssize_t size
        cdef int status = FRAME, taken
        while status == FRAME and self.chunk is not None:
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
                client.session.counters.bytes_out += size
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
            self.transport.write(answer)
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

    def pause_writing(self):
        self.full = True
        self.client.balance()

    def resume_writing(self):
        self.full = False
        self.client.go_on()

    def connection_lost(self, error):
        self.transport = None
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
        self.transport = transport
        self.connected_at = self.heard_at = read_clock()
        transport.set_write_buffer_limits(high=HIGH_WATER)
        self.shell.opened(self)

    cdef int take(self) except -1:
        self.heard_at = read_clock()
        return self.go_on()

    cdef take_frames(self, double now):
        cdef Session session = self.session
        cdef Py_ssize_t size
        cdef int status, taken
        while self.chunk is not None and session.waiting is None and not self.stalled():
            size = 0
            status = scan_frame(self.chunk.data + self.chunk.start, self.chunk.filled - self.chunk.start,
                                self.limit if session.state == OPEN else self.limit_before_login, &size)
            if status == NEED_DATA:
                self.wanted = size
                return
            if status != FRAME:
                if session.state == LOGIN and self.chunk.data[self.chunk.start] == TLS_HANDSHAKE:
                    session.close(CloseCause.TLS_ON_PLAINTEXT)
                else:
                    session.close(CloseCause.TOO_BIG if status == TOO_BIG else CloseCause.BAD_LENGTH)
                return
            try:
                taken = session.client_frame(self.chunk, self.chunk.start, size, now)
            except Exception as error:
                self.fail(error)
                return
            if taken == TAKEN:
                session.counters.bytes_in += size
                self.chunk.start += size
            else:
                return

    cdef bint stalled(self) noexcept:
        """True while either end has as much queued as it may: nothing more is taken from the client."""
        cdef Session session = self.session
        return (self.full or (self.broker is not None and (self.broker.full or self.broker.renewing))
                or session.state >= ENDING
                or session.to_broker.queued + session.to_client.queued + session.slots.waiting > self.most_queued)

    cdef Py_ssize_t limit_of_answers(self) noexcept:
        """A broker is trusted with more than a client: whatever a fetch may legally bring."""
        return 0x7FFFFFFF

    cdef int after_events(self) except -1:
        """Whatever just happened: tickets go to the shell, lanes and closing to the turn, reading follows."""
        cdef Session session = self.session
        if session.waiting is not None and not self.asked:
            self.asked = True
            self.shell.ask(self, session.waiting)
        if not self.touched and (session.to_client.queued or session.to_broker.queued
                                 or (session.state == CLOSED and not self.closing)):
            self.touched = True
            self.turn.add(self)
        self.balance()
        return 0

    def balance(self):
        """Reads from an end only while what it sends can be passed on."""
        cdef bint open_ = self.session.state != CLOSED
        self.read_or_pause(open_ and self.session.waiting is None and not self.stalled())
        if self.broker is not None and self.broker.login is None:
            self.broker.read_or_pause(open_ and not self.full)

    cdef int flush(self, bint noted, double now) except -1:
        cdef Session session = self.session
        cdef list out
        if not noted:
            session.close(CloseCause.AUDIT_UNAVAILABLE)
            session.to_broker.take()
            session.to_client.take()
        if now >= session.authentication.expires_at:
            return self.cut(CloseCause.SESSION_EXPIRED) or 0
        self.sent += session.to_client.queued
        out = session.to_broker.take()
        if out and self.broker is not None and self.broker.transport is not None:
            write(self.broker.transport, out)
        out = session.to_client.take()
        if out and self.transport is not None:
            write(self.transport, out)
        if session.state == CLOSED:
            self.end()
        elif self.chunk is not None and not self.full:
            self.go_on()        # What was left because of the lanes' limit can be taken now.
        return 0

    def fail(self, error):
        """Our own failure: refuse, close, say so; never pass on."""
        self.shell.failed(self, error)
        self.session.close(CloseCause.INTERNAL)

    def end(self):
        if self.closing:
            return
        self.closing = True
        if self.broker is not None and self.broker.transport is not None:
            self.broker.transport.close()
        if self.transport is not None:
            self.transport.close()

    def abort(self):
        """Ends both connections at once; what is still queued on them is lost. For peers that read nothing."""
        self.closing = True
        if self.broker is not None and self.broker.transport is not None:
            self.broker.transport.abort()
        if self.transport is not None:
            self.transport.abort()

    def queued(self):
        """Bytes for the client that its transport still holds."""
        return queued_in(self.transport)

    def cut(self, cause):
        """Access has ended: nothing that still waits here may reach either end any more."""
        cdef Session session = self.session
        session.close(cause)
        session.to_broker.take()
        session.to_client.take()
        if self.queued() or (self.broker is not None and queued_in(self.broker.transport)):
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
        self.go_on()

    def resumed(self):
        """After any resume_* or refuse_* of the session: go on with the frames that waited."""
        self.asked = False
        self.go_on()

    cdef int go_on(self) except -1:
        """Takes what was left in the buffer while something had to be waited for."""
        self.take_frames(read_clock())
        self.session.let_go()
        self.tidy()
        return self.after_events()

    def pause_writing(self):
        self.full = True
        self.balance()

    def resume_writing(self):
        self.full = False
        self.go_on()

    def eof_received(self):
        self.session.close(CloseCause.CLIENT_CLOSED)
        self.after_events()
        return False

    def connection_lost(self, error):
        self.transport = None
        self.session.close(CloseCause.CLIENT_CLOSED)
        self.end()
        self.shell.closed(self)


cdef long long queued_in(object transport) except -1:
    if transport is None:
        return 0
    try:
        return transport.get_write_buffer_size()
    except RuntimeError:
        return 0        # An aborted transport that has not told its protocol yet holds nothing any more.


cdef int write(object transport, list out) except -1:
    if transport.is_closing():
        return 0
    if len(out) == 1:
        transport.write(out[0])
    else:
        transport.writelines(out)
    return 0
