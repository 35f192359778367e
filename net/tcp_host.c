// SPDX-License-Identifier: MIT
/* The host's side of TCP: system calls on non-blocking stream sockets, as struct tcp_host names them. See
 * include/net/tcp.h; tcp(7), socket(7).
 *
 * A call per question, each made so that it answers as much as it can: SO_MEMINFO gives use and size of the send buffer
 * in one go, poll(2) says whether there is room and arms EPOLLOUT if there is none (tcp_poll() sets SOCK_NOSPACE for
 * whoever asks), and edge-triggered events need no epoll_ctl between a socket's first byte and its last. */
#include "net/tcp.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

#ifndef SO_MEMINFO
#define SO_MEMINFO 55
#endif

static bool host_prepare(void *ctx, int fd, uint32_t *buffer)
{
    static const int on = 1, start;
    int size = 0;
    socklen_t len = sizeof size;
    (void)ctx;
    *buffer = getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, &len) == 0 ? (uint32_t)size : 0;
    /* The guest's TCP has waited to join small writes, or has been told not to: that is not to be done twice. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on); /* RFC 6093; offsets count every byte */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on); /* a guest that probes means the far end */
    return setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &start, sizeof start) == 0;
}

static int host_connect(void *ctx, const struct sockaddr *to, socklen_t len)
{
    (void)ctx;
    int fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -errno;
    if (connect(fd, to, len) < 0 && errno != EINPROGRESS && errno != EINTR) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

static int host_error(void *ctx, int fd)
{
    int error = 0;
    socklen_t len = sizeof error;
    (void)ctx;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        return -errno;
    return -error;
}

static ssize_t host_peek(void *ctx, int fd, void *to, size_t len)
{
    (void)ctx;
    ssize_t n = recv(fd, to, len, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

static int host_peek_offset(void *ctx, int fd, uint32_t offset)
{
    int value = (int)offset;
    (void)ctx;
    return setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &value, sizeof value) < 0 ? -errno : 0;
}

static ssize_t host_discard(void *ctx, int fd, size_t len)
{
    (void)ctx;
    ssize_t n = recv(fd, NULL, len, MSG_TRUNC | MSG_DONTWAIT);
    return n < 0 ? -errno : n;
}

static ssize_t host_send(void *ctx, int fd, const struct iovec *iov, int n)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};
    (void)ctx;
    ssize_t sent = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    return sent < 0 ? -errno : sent;
}

static int host_room(void *ctx, int fd, uint32_t *used, uint32_t *size)
{
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof info;
    (void)ctx;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &len) < 0)
        return -errno;
    *used = info[SK_MEMINFO_WMEM_QUEUED];
    *size = info[SK_MEMINFO_SNDBUF];
    return 0;
}

static bool host_writable(void *ctx, int fd)
{
    struct pollfd p = {fd, POLLOUT, 0};
    (void)ctx;
    return poll(&p, 1, 0) > 0;
}

static void host_shutdown(void *ctx, int fd)
{
    (void)ctx;
    shutdown(fd, SHUT_WR);
}

static void host_close(void *ctx, int fd, bool reset)
{
    static const struct linger at_once = {1, 0};
    (void)ctx;
    if (reset)
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static bool host_watch(void *ctx, struct loop *loop, struct loop_fd *f, int fd, loop_fd_fn *fn, void *arg)
{
    (void)ctx;
    return loop_fd_add(loop, f, fd, (uint32_t)EPOLLET | EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP, fn, arg);
}

static void host_unwatch(void *ctx, struct loop_fd *f)
{
    (void)ctx;
    loop_fd_remove(f);
}

const struct tcp_host tcp_host_kernel = {
    .connect = host_connect,
    .prepare = host_prepare,
    .error = host_error,
    .peek = host_peek,
    .peek_offset = host_peek_offset,
    .discard = host_discard,
    .send = host_send,
    .room = host_room,
    .writable = host_writable,
    .shutdown = host_shutdown,
    .close = host_close,
    .watch = host_watch,
    .unwatch = host_unwatch,
};
