// SPDX-License-Identifier: MIT
/* Output through a ring and a thread: include/kvm/host/stream.h says why.
 *
 * A guest prints single characters. If each woke the writer, it would cost a futex call in the vCPU and a switch, a write
 * and a sleep elsewhere; so the writer lingers for half a millisecond before it takes the first bytes of a burst, during
 * which nobody needs to wake it, unless the ring fills up or somebody waits for the end. */
#include "kvm/host/lock.h"
#include "kvm/host/ns.h"
#include "kvm/host/ring.h"
#include "kvm/host/stream.h"
#include "kvm/host/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 16 * 1024
}; /* the ring's room is seen only after a write: not all of it at once */
#define LINGER_NS 500000ull

struct stream_out {
    struct lock lock;
    pthread_cond_t more; /* for the writer */
    int fd; /* a duplicate: the caller may close his, and its number may come to mean another file */
    int error;
    size_t size, head, used;
    bool running, idle, lingering, in_write;
    bool freed;
    bool cut, want_empty, lost, error_told;
    bool tell_room, tell_empty; /* for the task */
    pthread_t thread;
    struct loop_task task;
    bool in_callback, free_later; /* the loop thread's */
    struct stream_out_ops ops;
    void *arg;
    uint8_t ring[];
};

static void out_release(struct stream_out *s)
{
    if (s->fd >= 0)
        close(s->fd);
    pthread_cond_destroy(&s->more);
    free(s);
}

/* Lock held. Notes what the owner is to be told, and posts if there is something. */
static void out_tell(struct stream_out *s)
{
    bool post = s->lost && !s->error_told;
    if (s->cut && s->size - s->used >= (s->size + 1) / 2) {
        s->cut = false;
        s->tell_room = post = true;
    }
    if (s->want_empty && !s->used && !s->in_write) {
        s->want_empty = false;
        s->tell_empty = post = true;
    }
    if (post && !s->freed)
        loop_task_post(&s->task);
}

static void out_task(void *arg)
{
    struct stream_out *s = arg;
    lock_take(&s->lock);
    int error = s->lost && !s->error_told ? s->error : 0;
    bool room = s->tell_room, empty = s->tell_empty;
    s->error_told |= error != 0;
    s->tell_room = s->tell_empty = false;
    lock_drop(&s->lock);
    s->in_callback = true;
    if (error && s->ops.error)
        s->ops.error(s->arg, error);
    if (!s->free_later && room && s->ops.room)
        s->ops.room(s->arg);
    if (!s->free_later && empty && s->ops.empty)
        s->ops.empty(s->arg);
    s->in_callback = false;
    if (s->free_later)
        stream_out_free(s);
}

/* Lock held: from now on everything is thrown away. */
static void out_fail(struct stream_out *s, int error)
{
    s->error = error;
    s->lost = true;
    s->used = 0;
    out_tell(s);
}

static bool out_hurry(const struct stream_out *s)
{
    return s->freed || s->want_empty || s->used >= (s->size + 3) / 4;
}

/* write() that sits out what makes it come back early. Returns bytes, or -1 and errno. */
static ssize_t out_write(int fd, const uint8_t *data, size_t n)
{
    ssize_t done = write(fd, data, n);
    if (done < 0 && errno == EAGAIN) { /* somebody made the open file non-blocking */
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        poll(&p, 1, -1);
        return 0;
    }
    if (done < 0 && errno == EINTR)
        return 0;
    if (done == 0) {
        errno = EIO;
        return -1;
    }
    return done;
}

static void *out_thread(void *arg)
{
    struct stream_out *s = arg;
    lock_take(&s->lock);
    while (!s->freed && !s->error) {
        if (!s->used) {
            s->idle = true;
            lock_wait(&s->lock, &s->more);
            s->idle = false;
            if (!s->used || out_hurry(s))
                continue;
            uint64_t end = ns_on(CLOCK_MONOTONIC) + LINGER_NS;
            s->lingering = true;
            while (!out_hurry(s) && ns_on(CLOCK_MONOTONIC) < end)
                lock_wait_until(&s->lock, &s->more, end);
            s->lingering = false;
            continue;
        }
        size_t n = s->size - s->head < s->used ? s->size - s->head : s->used;
        if (n > CHUNK)
            n = CHUNK;
        s->in_write = true;
        lock_drop(&s->lock);
        ssize_t done = out_write(s->fd, s->ring + s->head, n); /* nobody else moves head */
        int error = errno;
        lock_take(&s->lock);
        s->in_write = false;
        if (done < 0) {
            out_fail(s, error);
        } else {
            s->head = (s->head + (size_t)done) % s->size;
            s->used -= (size_t)done;
            out_tell(s);
        }
    }
    bool abandoned = s->freed && !s->running;
    lock_drop(&s->lock);
    if (abandoned)
        out_release(s);
    return NULL;
}

struct stream_out *stream_out_new(struct loop *loop, int fd, size_t size, const struct stream_out_ops *ops,
                                  void *arg)
{
    struct stream_out *s = calloc(1, sizeof *s + size);
    if (!s)
        return NULL;
    lock_init(&s->lock, LOCK_QUEUE, "output stream");
    lock_cond_init(&s->more);
    loop_task_init(loop, &s->task, out_task, s);
    s->size = size;
    s->ops = *ops;
    s->arg = arg;
    s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (s->fd < 0 && errno == EBADF) {
        s->error = EBADF; /* it was closed: told like any other error, when somebody writes */
    } else if (s->fd < 0) {
        int saved = errno;
        out_release(s);
        errno = saved;
        return NULL;
    }
    return s;
}

size_t stream_out_write(struct stream_out *s, const void *data, size_t n)
{
    lock_take(&s->lock);
    if (n && !s->running && !s->error) {
        int error = thread_start(&s->thread, "output", out_thread, s);
        if (error)
            s->error = error;
        else
            s->running = true;
    }
    if (s->error) {
        s->lost |= n > 0;
        out_tell(s);
        lock_drop(&s->lock);
        return n;
    }
    size_t taken = n < s->size - s->used ? n : s->size - s->used;
    ring_put(s->ring, s->size, (s->head + s->used) % s->size, data, taken);
    s->used += taken;
    s->cut |= taken < n;
    bool wake = taken && (s->idle || (s->lingering && out_hurry(s)));
    if (wake)
        s->idle = s->lingering = false; /* woken once is enough */
    lock_drop(&s->lock);
    if (wake)
        pthread_cond_signal(&s->more); /* not before: it would wake up to wait for the lock */
    return taken;
}

size_t stream_out_room(struct stream_out *s)
{
    lock_take(&s->lock);
    size_t room = s->error ? s->size : s->size - s->used;
    lock_drop(&s->lock);
    return room;
}

void stream_out_notify_empty(struct stream_out *s)
{
    lock_take(&s->lock);
    s->want_empty = true;
    out_tell(s);
    pthread_cond_signal(&s->more);
    lock_drop(&s->lock);
}

bool stream_out_is_empty(struct stream_out *s)
{
    lock_take(&s->lock);
    bool empty = !s->used && !s->in_write && (!s->lost || s->error_told);
    lock_drop(&s->lock);
    return empty;
}

int stream_out_error(struct stream_out *s)
{
    lock_take(&s->lock);
    int error = s->error;
    lock_drop(&s->lock);
    return error;
}

void stream_out_free(struct stream_out *s)
{
    if (!s)
        return;
    if (s->in_callback) {
        s->free_later = true;
        return;
    }
    lock_take(&s->lock);
    s->freed = true;
    loop_task_cancel(&s->task); /* under the lock: afterwards a stuck thread may release s at any moment */
    bool running = s->running, stuck = running && s->in_write;
    pthread_t thread = s->thread;
    if (stuck)
        s->running = false; /* it releases the memory itself */
    pthread_cond_signal(&s->more);
    lock_drop(&s->lock);
    if (stuck) {
        pthread_detach(thread);
        return;
    }
    if (running)
        pthread_join(thread, NULL);
    out_release(s);
}
