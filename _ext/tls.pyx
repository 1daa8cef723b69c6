"""TLS between a transport and its protocol; see the .pxd."""
cimport cython
from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING

from kproxy._ext.chunk cimport Lane
from kproxy._ext.tls_records cimport BROKEN, FAREWELL, RECORD, scratch_room

from kproxy.errors import CloseCause

cdef enum:
    ALERT = 0x15
    HANDSHAKE_RECORD = 0x16


@cython.final
cdef class TlsLink:
    """``on_failed(cause, detail)`` is called once when the handshake or a record fails, before the link closes itself if
    nobody else has. ``seconds`` is the handshake's deadline, ``host`` whom a client's link wants to reach.

    A server's ``inner`` is told of the connection at once, so that it is counted and can be ended; a client's when the
    handshake is done, because only then is the broker known to be the one that was meant.
    """

    def __cinit__(self, TlsContext context, inner, loop, double seconds, on_failed, on_ready=None, str host=""):
        self.context = context
        self.inner = inner
        self.loop = loop
        self.seconds = seconds
        self.on_failed = on_failed
        self.on_ready = on_ready
        self.buffered = hasattr(inner, "get_buffer")
        self.records = Records(context, host)

    # -- towards the transport ------------------------------------------------------------------------------------------

    def connection_made(self, transport):
        self.transport = transport
        self.deadline = self.loop.call_later(self.seconds, self.late)
        if self.context.server:
            self.told = True
            self.inner.connection_made(self)
        else:
            self.feed(NULL, 0)

    def get_buffer(self, hint):
        return scratch_room()

    def buffer_updated(self, Py_ssize_t count):
        # SAFETY: the scratch buffer is nobody else's until this call is over.
        self.feed(<const unsigned char*>PyByteArray_AS_STRING(scratch_room()), count)

    def eof_received(self):
        if self.state == HANDSHAKE:
            self.fail((CloseCause.TLS_HANDSHAKE_FAILED, "the other side closed during the handshake"))
        elif self.state == SECURED and self.told:
            self.inner.eof_received()
        return False

    def connection_lost(self, error):
        self.end_deadline()
        if self.state == HANDSHAKE:
            self.fail((CloseCause.TLS_HANDSHAKE_FAILED, "the connection was lost during the handshake"))
        self.state = ENDED
        self.closing = True
        self.held = None
        self.on_failed = self.on_ready = None
        if self.told:
            self.told = False
            self.inner.connection_lost(error)

    def pause_writing(self):
        if self.told:
            self.inner.pause_writing()

    def resume_writing(self):
        if self.told:
            self.inner.resume_writing()

    # -- towards the inner protocol ---------------------------------------------------------------------------------------

    def write(self, data):
        self.writelines((data,))

    def writelines(self, parts):
        if self.closing or self.state in (FAILED, ENDED):
            return
        if self.state == HANDSHAKE:
            self.held = (self.held or []) + [bytes(part) for part in parts]
            return
        self.seal(parts)
        self.flush()

    def pause_reading(self):
        self.paused = True
        self.transport.pause_reading()

    def resume_reading(self):
        if not self.paused:
            return
        self.paused = False
        self.transport.resume_reading()
        if not self.feeding:
            # Not now: whoever calls is in the middle of its own work and expects no bytes from inside of it.
            self.loop.call_soon(self.go_on)

    def go_on(self):
        """What had arrived before reading was paused."""
        if self.state == SECURED and not self.paused:
            self.work()

    def is_closing(self):
        return self.closing or self.transport.is_closing()

    def close(self):
        if self.closing:
            return
        self.closing = True
        if self.state == SECURED and not self.transport.is_closing():
            self.records.say_farewell()
            self.flush()
        # The other side's farewell is not waited for: a peer may choose never to send it.
        self.transport.close()

    def abort(self):
        self.closing = True
        self.transport.abort()

    def late(self):
        if self.state == HANDSHAKE:
            self.fail((CloseCause.TLS_HANDSHAKE_TIMEOUT, f"the handshake took longer than {self.seconds:g} s"))

    def get_extra_info(self, name, default=None):
        if name == "tls_version":
            return self.records.describe()[0]
        if name == "tls_cipher":
            return self.records.describe()[1]
        return self.transport.get_extra_info(name, default)

    def set_write_buffer_limits(self, high=None, low=None):
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self):
        return self.transport.get_write_buffer_size()

    # -- at work ----------------------------------------------------------------------------------------------------------

    cdef int feed(self, const unsigned char* data, Py_ssize_t length) except -1:
        """Takes ciphertext as far as it goes, and sends what that brings up. Never called from inside itself."""
        if self.state in (FAILED, ENDED):
            return 0
        if self.state == HANDSHAKE and length and self.records.window.at == NULL and data[0] != HANDSHAKE_RECORD \
                and data[0] != ALERT:
            return self.fail((CloseCause.PLAINTEXT_ON_TLS, "what came is no TLS"))
        self.records.take(data, length)
        return self.work()

    cdef int work(self) except -1:
        self.feeding = True
        try:
            if self.state == HANDSHAKE:
                self.shake()
            if self.state == SECURED:
                self.pump()
            self.flush()
        finally:
            self.feeding = False
            self.records.keep()
        return 0

    cdef int shake(self) except -1:
        cdef int status = self.records.shake()
        if status == BROKEN:
            return self.fail(self.records.why)
        if status == 0:
            return 0
        self.state = SECURED
        self.end_deadline()
        self.peer = self.records.read_peer()
        if not self.told:
            self.told = True
            self.inner.connection_made(self)
        if self.on_ready is not None:
            self.on_ready()
        if self.held:
            self.seal(self.held)
            self.held = None
        return 0

    cdef int pump(self) except -1:
        """Plaintext to inner, until there is no more or inner does not want it."""
        cdef Py_buffer view
        cdef Py_ssize_t got
        cdef unsigned char[RECORD] stage
        while self.state == SECURED and not self.paused and not self.closing and not self.records.is_dry():
            if self.buffered:
                room = self.inner.get_buffer(-1)
                PyObject_GetBuffer(room, &view, PyBUF_WRITABLE)
                try:
                    got = self.records.receive(<unsigned char*>view.buf, view.len)
                finally:
                    PyBuffer_Release(&view)
                # A session ticket brings nothing; inner is told all the same, because it may give its buffer back then.
                self.inner.buffer_updated(max(got, <Py_ssize_t>0))
            else:
                got = self.records.receive(stage, RECORD)
                if got > 0:
                    self.inner.data_received((<const char*>stage)[:got])
            if got == FAREWELL:
                self.inner.eof_received()
                self.close()
            elif got == BROKEN:
                self.broken()
            elif got == 0:
                return 0
        return 0

    cdef int seal(self, object parts) except -1:
        cdef Lane lane = Lane()
        for part in parts:
            lane.add(part)
        if self.records.seal(lane) == BROKEN:
            self.broken()
        return 0

    cdef int flush(self) except -1:
        cdef Lane lane = Lane()
        self.records.take_out(lane)
        if lane.count and not self.transport.is_closing():
            self.transport.write(lane.take()[0])
        return 0

    # -- what went wrong ------------------------------------------------------------------------------------------------

    def broken(self):
        """The records say that they cannot go on."""
        self.fail(self.records.why)

    cdef int fail(self, tuple why) except -1:
        if self.state in (FAILED, ENDED):
            return 0
        self.state = FAILED
        self.end_deadline()
        self.flush()
        on_failed, self.on_failed = self.on_failed, None
        if on_failed is not None:
            on_failed(str(why[0]), why[1])
        if not self.told:
            self.transport.close()
        return 0

    cdef int end_deadline(self) except -1:
        deadline, self.deadline = self.deadline, None
        if deadline is not None:
            deadline.cancel()
        return 0

