// TLS for the load generator: the same calls as on a plain socket, by file descriptor.
#pragma once
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "wire.hpp"

namespace tls {

inline std::vector<SSL*> secured;       // by file descriptor
inline SSL_CTX* context = nullptr;

inline SSL* find(int fd) { return fd >= 0 && (size_t)fd < secured.size() ? secured[fd] : nullptr; }

inline ssize_t failed(SSL* ssl, int status) {
    int error = SSL_get_error(ssl, status);
    errno = EAGAIN;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return -1;
    errno = ECONNRESET;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

// As recv: as many records as there are and fit. Without `data` what is read is thrown away.
inline ssize_t receive(int fd, void* data, size_t size, int flags) {
    static std::vector<char> away(1 << 16);
    SSL* ssl = find(fd);
    if (!ssl) return recv(fd, data, size, flags);
    size_t got = 0;
    while (got < size) {
        size_t room = data ? size - got : std::min(size - got, away.size());
        ERR_clear_error();
        int n = SSL_read(ssl, data ? (char*)data + got : away.data(), (int)std::min<size_t>(room, 1 << 30));
        if (n <= 0) return got ? (ssize_t)got : failed(ssl, n);
        got += n;
        if (data && !SSL_has_pending(ssl)) break;
    }
    return got;
}

// As writev: several small parts share a record.
inline ssize_t send_gathered(int fd, const iovec* parts, int count) {
    static std::string together;
    SSL* ssl = find(fd);
    if (!ssl) return writev(fd, parts, count);
    const void* at = parts[0].iov_base;
    size_t length = parts[0].iov_len;
    if (count > 1 && length < 16384) {
        together.clear();
        for (int i = 0; i < count && together.size() < 16384; i++)
            together.append((const char*)parts[i].iov_base, std::min<size_t>(parts[i].iov_len, 16384 - together.size()));
        at = together.data();
        length = together.size();
    }
    ERR_clear_error();
    int n = SSL_write(ssl, at, (int)std::min<size_t>(length, 1 << 30));
    if (n > 0) return n;
    failed(ssl, n);
    return -1;
}

// Everything that is sent and received from now on goes through TLS; the server's certificate must be for `authority`.
inline void begin(const std::string& authority) {
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    if (!SSL_CTX_load_verify_locations(context, authority.c_str(), nullptr)) die("cannot read the authority " + authority);
    receive_bytes = receive;
    send_parts = send_gathered;
}

inline void connect(int fd) {
    if (!context) return;
    SSL* ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    if (SSL_connect(ssl) != 1) die("the TLS handshake failed: " + std::string(ERR_reason_error_string(ERR_peek_error()) ?: "closed"));
    if ((size_t)fd >= secured.size()) secured.resize(fd + 1);
    secured[fd] = ssl;
}

inline void close(int fd) {
    if (SSL* ssl = find(fd)) {
        SSL_free(ssl);
        secured[fd] = nullptr;
    }
    ::close(fd);
}

}  // namespace tls
