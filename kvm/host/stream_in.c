// SPDX-License-Identifier: MIT
/* Input through a ring and a thread: include/kvm/host/stream.h. The thread reads straight into the free part of the ring,
 * which nobody else touches, waits while less than half of it is free, and sleeps in poll() together with an eventfd so that
 * the stream can be freed while no input comes. */
#include "kvm/host/lock.h"
#include "kvm/host/ring.h"
#include "kvm/host/stream.h"
#include "kvm/host/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct stream_in {
    struct lock lock;
    pthread_cond_t room; /* for the reader */
    int fd;              /* a duplicate, as in stream_out.c */
    int wake_fd;
    int error;
    size_t size, head, used;
    bool running, waiting, in_read, freed, ended;
    pthread_t thread;
    struct loop_task task;
    void (*ready)(void *arg);
    void *arg;
    uint8_t ring[];
};

static void in_release(struct stream_in *s)
{
    if (s->fd >= 0)
        close(s->fd);
    if (s->wake_fd >= 0)
        close(s->wake_fd);
    pthread_cond_destroy(&s->room);
    free(s);
}

static void in_task(void *arg)
{
    struct stream_in *s = arg;
    s->ready(s->arg);
}

/* Sleeps until there is input, or stream_in_free(). */
static void in_poll(const struct stream_in *s)
{
    struct pollfd p[2] = {
        {.fd = s->fd,      .events = POLLIN},
        {.fd = s->wake_fd, .events = POLLIN}
    };
    poll(p, 2, -1); /* whatever it says, read() or `freed` says more */
}

static void *in_thread(void *arg)
{
    struct stream_in *s = arg;
    lock_take(&s->lock);
    while (!s->freed && !s->ended) {
        if (s->size - s->used < (s->size + 1) / 2) {
            s->waiting = true;
            lock_wait(&s->lock, &s->room);
            s->waiting = false;
            continue;
        }
        size_t tail = (s->head + s->used) % s->size;
        size_t n = tail < s->head ? s->head - tail : s->size - tail;
        lock_drop(&s->lock);
        in_poll(s);
        lock_take(&s->lock);
        if (s->freed)
            break;
        s->in_read = true;
        lock_drop(&s->lock);
        ssize_t got = read(s->fd, s->ring + tail, n); /* blocks if another reader was faster */
        int error = errno;
        lock_take(&s->lock);
        s->in_read = false;
        if (got < 0 && (error == EINTR || error == EAGAIN))
            continue;
        bool tell = s->used == 0 || got <= 0;
        if (got > 0) {
            s->used += (size_t)got;
        } else {
            s->ended = true;
            s->error = got < 0 ? error : 0;
        }
        if (tell && !s->freed)
            loop_task_post(&s->task);
    }
    bool abandoned = s->freed && !s->running;
    lock_drop(&s->lock);
    if (abandoned)
        in_release(s);
    return NULL;
}

struct stream_in *stream_in_new(struct loop *loop, int fd, size_t size, void (*ready)(void *arg), void *arg)
{
    struct stream_in *s = calloc(1, sizeof *s + size);
    if (!s)
        return NULL;
    lock_init(&s->lock, LOCK_QUEUE, "input stream");
    lock_cond_init(&s->room);
    loop_task_init(loop, &s->task, in_task, s);
    s->size = size;
    s->ready = ready;
    s->arg = arg;
    s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    bool closed = s->fd < 0 && errno == EBADF;
    s->wake_fd = s->fd < 0 && !closed ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake_fd < 0) {
        int saved = errno;
        in_release(s);
        errno = saved;
        return NULL;
    }
    if (closed)
        s->error = EBADF; /* told by stream_in_start() */
    return s;
}

void stream_in_start(struct stream_in *s)
{
    lock_take(&s->lock);
    if (!s->running && !s->ended) {
        if (!s->error)
            s->error = thread_start(&s->thread, "input", in_thread, s);
        if (s->error) {
            s->ended = true;
            loop_task_post(&s->task);
        } else {
            s->running = true;
        }
    }
    lock_drop(&s->lock);
}

size_t stream_in_read(struct stream_in *s, void *data, size_t n)
{
    lock_take(&s->lock);
    size_t taken = n < s->used ? n : s->used;
    ring_get(s->ring, s->size, s->head, data, taken);
    s->head = (s->head + taken) % s->size;
    s->used -= taken;
    bool wake = s->waiting && s->size - s->used >= (s->size + 1) / 2;
    if (wake)
        s->waiting = false;
    lock_drop(&s->lock);
    if (wake)
        pthread_cond_signal(&s->room);
    return taken;
}

size_t stream_in_available(struct stream_in *s)
{
    lock_take(&s->lock);
    size_t n = s->used;
    lock_drop(&s->lock);
    return n;
}

bool stream_in_ended(struct stream_in *s)
{
    lock_take(&s->lock);
    bool ended = s->ended && !s->used;
    lock_drop(&s->lock);
    return ended;
}

int stream_in_error(struct stream_in *s)
{
    lock_take(&s->lock);
    int error = s->ended ? s->error : 0;
    lock_drop(&s->lock);
    return error;
}

void stream_in_free(struct stream_in *s)
{
    if (!s)
        return;
    uint64_t one = 1;
    lock_take(&s->lock);
    s->freed = true;
    loop_task_cancel(&s->task);
    if (write(s->wake_fd, &one, sizeof one) < 0) {
        /* full: it is readable anyhow */
    }
    pthread_cond_signal(&s->room);
    bool running = s->running, stuck = running && s->in_read;
    pthread_t thread = s->thread;
    if (stuck)
        s->running = false; /* it releases the memory itself */
    lock_drop(&s->lock);
    if (stuck) {
        pthread_detach(thread);
        return;
    }
    if (running)
        pthread_join(thread, NULL);
    in_release(s);
}

static bool stdin_taken;

bool stream_claim_stdin(void)
{
    bool mine = !stdin_taken;
    stdin_taken = true;
    return mine;
}

void stream_release_stdin(void)
{
    stdin_taken = false;
}

void stream_reserve_standard(void)
{
    /* open() takes the lowest number that is free; /dev/null opened for the other direction refuses with EBADF. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd ? O_RDONLY : O_WRONLY) < 0)
            return;
}
