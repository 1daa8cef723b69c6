"""The bytes of connections, moved natively; see the .pxd for the picture."""
cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close as close_descriptor

from kproxy._ext.tls_records cimport BROKEN, FAREWELL, SCRATCH, scratch_room

cdef extern from "<sys/epoll.h>" nogil:
    ctypedef union epoll_data_t:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)
    int EPOLL_CLOEXEC, EPOLL_CTL_ADD, EPOLL_CTL_DEL
    uint32_t EPOLLIN, EPOLLOUT, EPOLLRDHUP, EPOLLHUP, EPOLLERR, EPOLLET

cdef extern from "<sys/socket.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t recv(int, void*, size_t, int)
    ssize_t send(int, const void*, size_t, int)
    ssize_t sendmsg(int, const msghdr*, int)
    int MSG_NOSIGNAL, MSG_PEEK

cdef extern from "<string.h>" nogil:
    void* memset(void*, int, size_t)

cdef enum:
    MOST_EVENTS = 64
    MOST_PARTS = 64             # of one sendmsg
    LOOK_BYTES = 131072         # received in one look before its bytes are sent on: they are still in the cache then


cdef class End:
    cdef int on_readable(self) except -1:
        raise NotImplementedError

    cdef int on_full(self) except -1:
        raise NotImplementedError

    cdef int on_room(self) except -1:
        raise NotImplementedError

    cdef int on_failed(self, object error) except -1:
        raise NotImplementedError


@cython.final
cdef class Wire:
    def __cinit__(self, End end, transport):
        self.end = end
        self.transport = transport
        self.rest = Lane()
        self.fd = -1

    # -- receiving ----------------------------------------------------------------------------------------------------

    cdef Py_ssize_t receive(self, unsigned char* room, Py_ssize_t size) except -2:
        """Bytes received, 0 when there are none now, LOST when none will come any more. ``room`` is the caller's."""
        if not self.has_more():
            return 0
        return self.hear(room, size) if self.records is None else self.open_records(room, size)

    cdef bint has_more(self) noexcept:
        return self.fd >= 0 and not self.closing and (
            self.readable or (self.records is not None and not self.records.is_dry()))

    cdef Py_ssize_t open_records(self, unsigned char* room, Py_ssize_t size) except -2:
        """The plaintext of what is there."""
        cdef Py_ssize_t got = 0 if self.records.is_dry() else self.records.receive(room, size)
        cdef Py_ssize_t heard
        cdef unsigned char* ciphertext
        while got == 0 and self.readable:
            # No more than there is room for: what is left over has to be kept, and so copied.
            ciphertext = <unsigned char*>PyByteArray_AS_STRING(scratch_room())
            heard = self.hear(ciphertext, min(size, <Py_ssize_t>SCRATCH))
            if heard < 0:
                return heard
            if heard > 0:
                self.records.take(ciphertext, heard)
                got = self.records.receive(room, size)
        self.records.keep()
        if got == BROKEN:
            return self.break_off()
        if self.records.out is not None:
            self.push_or_keep(Lane())       # What TLS itself has to say, such as that it has taken new keys.
        return LOST if got == FAREWELL else got

    cdef int break_off(self) except -1:
        """The link tells what was wrong with the records; until it is closed nothing moves any more."""
        self.let_go()
        self.rest.clear()
        self.transport.broken()
        return 0

    cdef Py_ssize_t hear(self, unsigned char* room, Py_ssize_t size) except -2:
        cdef ssize_t got = recv(self.fd, room, size, 0)
        while got < 0 and errno == EINTR:
            got = recv(self.fd, room, size, 0)
        if got > 0:
            # Less than there was room for is all there was, and whatever comes later is an edge again. Only a hang-up
            # that was told already has no edge left.
            if got < size and not self.hung_up:
                self.readable = False
            self.sockets.received += got
            return got
        self.readable = False
        if got == 0:
            return LOST
        if errno == EAGAIN:
            return 0
        self.abort()
        return LOST

    cdef Py_ssize_t left(self) noexcept:
        cdef unsigned char[ENOUGH] room
        cdef ssize_t got
        if self.fd < 0 or (self.records is not None and not self.records.is_dry()):
            return ENOUGH
        got = recv(self.fd, room, ENOUGH, MSG_PEEK)
        return max(got, 0)

    cdef int pause(self) except -1:
        if self.fd < 0 and not self.transport.is_closing():
            self.transport.pause_reading()
        return 0

    cdef int resume(self) except -1:
        if self.fd >= 0:
            if self.has_more():
                self.sockets.read_again(self)
        elif not self.transport.is_closing():
            self.transport.resume_reading()
        return 0

    # -- sending ------------------------------------------------------------------------------------------------------

    cdef int send(self, Lane lane) except -1:
        cdef list parts
        if lane.count == 0:
            return 0
        if self.closing:
            return lane.clear()
        if self.fd < 0:
            parts = lane.take()
            if self.transport.is_closing():
                return 0
            if len(parts) == 1:
                self.transport.write(parts[0])
            else:
                self.transport.writelines(parts)
            return 0
        if self.records is not None and self.records.seal(lane) == BROKEN:
            return self.break_off()
        return self.push_or_keep(lane)

    cdef int push_or_keep(self, Lane lane) except -1:
        if self.records is not None:
            self.records.take_out(lane)
        if self.rest.count == 0 and self.push(lane) < 0:
            lane.clear()
            return self.abort()
        if lane.count:
            self.rest.follow(lane)
            if self.rest.queued > HIGH_WATER and not self.full:
                self.full = True
                self.end.on_full()
        return 0

    cdef int write(self, object data) except -1:
        cdef Lane lane = Lane()
        lane.add(data)
        return self.send(lane)

    cdef int push(self, Lane lane) except -2:
        """Sends from the front of ``lane`` what the kernel takes. −1: the connection is lost."""
        cdef iovec[MOST_PARTS] parts
        cdef msghdr message
        cdef Py_ssize_t size
        cdef ssize_t sent
        cdef int i, count
        while lane.count:
            count = min(lane.count, <int>MOST_PARTS)
            if count == 1:
                size = lane.segments[lane.first].length
                sent = send(self.fd, lane.segments[lane.first].data, size, MSG_NOSIGNAL)
            else:
                size = 0
                for i in range(count):
                    parts[i].iov_base = <void*>lane.segments[lane.first + i].data
                    parts[i].iov_len = lane.segments[lane.first + i].length
                    size += lane.segments[lane.first + i].length
                memset(&message, 0, sizeof(msghdr))
                message.msg_iov = parts
                message.msg_iovlen = count
                sent = sendmsg(self.fd, &message, MSG_NOSIGNAL)
            if sent >= 0:
                lane.consume(sent)
                if sent < size:
                    return 0        # The kernel's queue is full, and its next room an edge.
            elif errno == EAGAIN:
                return 0
            elif errno != EINTR:
                return -1
        return 0

    cdef int drain(self) except -1:
        """There is room again."""
        if self.rest.count and self.push(self.rest) < 0:
            return self.abort()
        if self.full and self.rest.queued <= LOW_WATER:
            self.full = False
            self.end.on_room()
        if self.closing and self.rest.count == 0:
            self.let_go()
            self.transport.close()
        return 0

    cdef long long queued(self) except -1:
        if self.fd >= 0 or self.transport is None:
            return self.rest.queued
        try:
            return self.transport.get_write_buffer_size()
        except RuntimeError:
            return 0        # An aborted transport that has not told its protocol yet holds nothing any more.

    # -- beginning and end --------------------------------------------------------------------------------------------

    cdef int take_over(self, Sockets sockets, Records records) except -1:
        """From now on the bytes are moved here. The transport keeps them where it still has some to write."""
        cdef epoll_event event
        if self.fd >= 0 or self.closing or self.transport is None or self.transport.is_closing() or self.queued():
            return 0
        if records is not None and records.out is not None:
            return 0
        found = self.transport.get_extra_info("socket")
        if found is None:
            return 0
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET
        # SAFETY: ``wires`` holds the wire until ``let_go``, and ``gone`` until the look during which it was let go.
        event.data.ptr = <void*>self
        if epoll_ctl(sockets.epoll, EPOLL_CTL_ADD, found.fileno(), &event) != 0:
            return 0
        self.transport.pause_reading()
        self.fd = found.fileno()
        self.sockets = sockets
        self.records = records
        sockets.wires.add(self)
        if self.has_more():
            sockets.read_again(self)
        return 0

    cdef int let_go(self) except -1:
        cdef epoll_event event
        if self.fd < 0:
            return 0
        epoll_ctl(self.sockets.epoll, EPOLL_CTL_DEL, self.fd, &event)
        self.fd = -1
        self.sockets.wires.discard(self)
        if self.sockets.looking:
            self.sockets.gone.append(self)
        return 0

    cdef int close(self) except -1:
        """What is queued still goes out; nothing more is received."""
        if self.closing or self.transport is None:
            return 0
        self.closing = True
        if self.rest.count == 0:
            self.let_go()
            self.transport.close()
        return 0

    cdef int abort(self) except -1:
        self.closing = True
        self.let_go()
        self.rest.clear()
        if self.transport is not None:
            self.transport.abort()
        return 0

    cdef int lost(self) except -1:
        self.closing = True
        self.let_go()
        self.rest.clear()
        self.transport = None
        return 0


@cython.final
cdef class Sockets:
    """``wake()`` is called when a wire is to be read although the kernel will not say so: soon after, ``look``."""

    def __cinit__(self, wake):
        self.epoll = epoll_create1(EPOLL_CLOEXEC)
        if self.epoll < 0:
            raise OSError(errno, "epoll_create1")
        self.wires = set()
        self.gone = []
        self.again = []
        self.wake = wake

    def __dealloc__(self):
        if self.epoll >= 0:
            close_descriptor(self.epoll)

    def fileno(self):
        """Readable while any wire has something to tell."""
        return self.epoll

    cdef int look(self) except -1:
        """Takes what is ready now. Gives how many wires there were; none are left then, or they are listed."""
        cdef epoll_event[MOST_EVENTS] events
        cdef Wire wire
        cdef list again = self.again
        cdef int i, found = epoll_wait(self.epoll, events, MOST_EVENTS, 0)
        self.looking = True
        self.received = 0
        try:
            if again:
                self.again = []
                for wire in again:
                    wire.listed = False
                    self.read_from(wire)
            for i in range(found):
                wire = <Wire>events[i].data.ptr
                if wire.fd < 0:
                    continue
                if events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                    wire.hung_up = True
                if events[i].events & ~EPOLLOUT:
                    wire.readable = True
                if events[i].events & (EPOLLOUT | EPOLLHUP | EPOLLERR) and (wire.rest.count or wire.closing):
                    self.send_rest(wire)
                self.read_from(wire)
        finally:
            self.looking = False
            self.gone.clear()
        return max(found, 0) + <int>len(again)

    cdef int send_rest(self, Wire wire) except -1:
        try:
            wire.drain()
        except Exception as error:
            wire.end.on_failed(error)
        return 0

    cdef int read_from(self, Wire wire) except -1:
        if not wire.has_more():
            return 0
        if self.received > LOOK_BYTES:
            return self.read_again(wire)
        try:
            wire.end.on_readable()
        except Exception as error:
            wire.end.on_failed(error)
        return 0

    cdef int read_again(self, Wire wire) except -1:
        if wire.listed or wire.closing:
            return 0
        wire.listed = True
        self.again.append(wire)
        if not self.looking:
            self.wake()
        return 0
