// SPDX-License-Identifier: MIT
/* vhost-net, the queues: see include/virtio/vhost.h. Memory and dirty log are virtio/vhost_memory.c. */
#include "virtio/vhost_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/host/log.h"

enum {
    DRAIN_MAX = 4096, /* frames; a tap keeps 1000, unless somebody changed txqueuelen */
    USED_IDX = 1,     /* of the used ring's 16-bit words */
};

/* --- the kernel */

static int host_open(void *ctx)
{
    (void)ctx;
    int fd = open("/dev/vhost-net", O_RDWR | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int host_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
    (void)ctx;
    return ioctl(fd, request, arg) < 0 ? -errno : 0;
}

static const struct vhost_ops host_ops = {host_open, host_ioctl};

bool vhost_call(struct vhost *vh, unsigned pair, const struct vhost_request *r, void *arg)
{
    int error = vh->o.ops->ioctl(vh->o.ctx, vh->fds[pair], r->number, arg);
    if (error && vh->warned++ < VHOST_WARNINGS)
        warn("%s: vhost: %s: %s", vh->o.name, r->name, strerror(-error));
    return !error;
}

static bool ring_file(struct vhost_queue *q, const struct vhost_request *r, int fd)
{
    struct vhost_vring_file file = {.index = q->index % 2, .fd = fd};
    return vhost_call(q->vh, q->index / 2, r, &file);
}

static bool ring_state(struct vhost_queue *q, const struct vhost_request *r, unsigned num)
{
    struct vhost_vring_state state = {.index = q->index % 2, .num = num};
    return vhost_call(q->vh, q->index / 2, r, &state);
}

/* --- a queue */

static struct virtq *ring_of(struct vhost_queue *q)
{
    return virtio_queue(q->vh->v, q->index);
}

static void give_up(struct vhost_queue *q, const char *why)
{
    virtq_break(ring_of(q), why);
}

static bool piece(struct virtq *q, uint64_t gpa, size_t size, bool write, __u64 *at)
{
    struct iovec iov;
    if (dma_iov(q->dma, gpa, size, write, &iov, 1) != 1)
        return false;
    *at = (uintptr_t)iov.iov_base;
    return true;
}

bool vhost_set_addresses(struct vhost_queue *q)
{
    struct virtq *ring = ring_of(q);
    size_t event = ring->event_idx ? 2 : 0;
    struct vhost_vring_addr addr = {
        .index = q->index % 2,
        .flags = q->vh->logging ? 1u << VHOST_VRING_F_LOG : 0,
        .log_guest_addr = ring->used,
    };
    if (!piece(ring, ring->desc, 16ul * ring->size, false, &addr.desc_user_addr) ||
        !piece(ring, ring->avail, 4 + 2ul * ring->size + event, false, &addr.avail_user_addr) ||
        !piece(ring, ring->used, 4 + 8ul * ring->size + event, true, &addr.used_user_addr)) {
        give_up(q, "its rings are not in RAM");
        return false;
    }
    q->used = (uint16_t *)(uintptr_t)addr.used_user_addr;
    return vhost_call(q->vh, q->index / 2, &VHOST_REQUEST(VHOST_SET_VRING_ADDR), &addr);
}

/* The eventfd by which the kernel interrupts: the vector's own, or ours. */
static bool set_call(struct vhost_queue *q)
{
    struct virtq *ring = ring_of(q);
    int fd = pci_vector_fd(&q->vh->v->pci, ring->vector);
    if (fd < 0)
        fd = q->call_fd;
    if (fd == q->called)
        return true;
    bool done = ring_file(q, &VHOST_REQUEST(VHOST_SET_VRING_CALL), fd);
    q->called = done ? fd : -1;
    return done;
}

static bool wanted(const struct vhost_queue *q)
{
    const struct vhost *vh = q->vh;
    const struct virtq *ring = ring_of((struct vhost_queue *)q);
    return virtio_is_live(vh->v) && ring->enabled && !ring->broken && vh->n_regions && vh->link &&
           !vh->held && q->index / 2 < (q->index % 2 ? vh->sending : vh->active);
}

static void start(struct vhost_queue *q)
{
    struct vhost *vh = q->vh;
    struct virtq *ring = ring_of(q);
    uint64_t one = 1;
    if (!vhost_set_features(vh, q->index / 2) ||
        !ring_state(q, &VHOST_REQUEST(VHOST_SET_VRING_NUM), ring->size) ||
        !ring_state(q, &VHOST_REQUEST(VHOST_SET_VRING_BASE), ring->last_avail) || !vhost_set_addresses(q) ||
        !set_call(q) || !ring_file(q, &VHOST_REQUEST(VHOST_NET_SET_BACKEND), vh->o.tap[q->index / 2])) {
        give_up(q, "the host's kernel does not serve it");
        return;
    }
    q->running = true;
    q->starts++;
    /* what was made available while nobody looked: kicks of that time are gone */
    if (write(vh->v->queues[q->index].kick_fd, &one, sizeof one) < 0) {
        /* EAGAIN: it could not be more ready */
    }
}

/* Nothing is written to guest memory by it any more, and the indices are where the guest's rings are. */
static void stop(struct vhost_queue *q)
{
    struct vhost *vh = q->vh;
    struct virtq *ring = ring_of(q);
    struct vhost_vring_state base = {.index = q->index % 2};
    q->running = false;
    if (!ring_file(q, &VHOST_REQUEST(VHOST_NET_SET_BACKEND), VHOST_FILE_UNBIND) ||
        !vhost_call(vh, q->index / 2, &VHOST_REQUEST(VHOST_GET_VRING_BASE), &base)) {
        give_up(q, "the host's kernel does not give it back");
        return;
    }
    ring->last_avail = ring->avail_idx = (uint16_t)base.num;
    ring->used_idx = ring->used_next = ring->signalled =
        __atomic_load_n(&q->used[USED_IDX], __ATOMIC_ACQUIRE);
}

void vhost_stop_all(struct vhost *vh)
{
    for (unsigned i = 0; i < 2 * vh->o.pairs; i++)
        if (vh->queues[i].running)
            stop(&vh->queues[i]);
}

void vhost_update(struct vhost *vh)
{
    for (unsigned i = 0; i < 2 * vh->o.pairs; i++)
        if (vh->queues[i].running && !wanted(&vh->queues[i]))
            stop(&vh->queues[i]);
    for (unsigned i = 0; i < 2 * vh->o.pairs; i++)
        if (!vh->queues[i].running && wanted(&vh->queues[i]))
            start(&vh->queues[i]);
}

bool vhost_set_features(struct vhost *vh, unsigned pair)
{
    uint64_t want = (vh->v->accepted & vh->features) | (vh->logging ? 1ull << VHOST_F_LOG_ALL : 0);
    if (want == vh->acked[pair])
        return true;
    if (!vhost_call(vh, pair, &VHOST_REQUEST(VHOST_SET_FEATURES), &want))
        return false;
    vh->acked[pair] = want;
    return true;
}

/* --- what the kernel tells: on the loop */

static void swallow(int fd)
{
    uint64_t count;
    while (read(fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

static void on_call(void *arg, uint32_t events)
{
    struct vhost_queue *q = arg;
    (void)events;
    swallow(q->call_fd);
    device_enter(&q->vh->v->pci.dev);
    virtio_interrupt(q->vh->v, ring_of(q));
    lock_drop(&q->vh->v->pci.dev.lock);
}

static void on_error(void *arg, uint32_t events)
{
    struct vhost_queue *q = arg;
    (void)events;
    swallow(q->error_fd);
    if (q->vh->o.alive && !q->vh->o.alive(q->vh->o.tap_ctx))
        return;
    device_enter(&q->vh->v->pci.dev);
    if (q->running) {
        q->errors++;
        give_up(q, "the host's kernel cannot use what is in it");
        vhost_update(q->vh);
    }
    lock_drop(&q->vh->v->pci.dev.lock);
}

/* --- what the card tells */

/* A card that does not run takes what comes, and drops it; a tap keeps it. */
static void drain(struct vhost *vh)
{
    char some
        [64]; /* with less than its header a tap calls it an error; the rest of a frame is dropped anyway */
    for (unsigned pair = 0; pair < vh->active; pair++)
        for (unsigned i = 0; i < DRAIN_MAX && read(vh->o.tap[pair], some, sizeof some) > 0; i++)
            ;
}

void vhost_driver_ok(struct vhost *vh)
{
    if (!vh->queues[0].running)
        drain(vh);
    vhost_update(vh);
}

void vhost_set_pairs(struct vhost *vh, unsigned pairs)
{
    if (pairs > vh->o.pairs)
        pairs = vh->o.pairs;
    while (vh->active < pairs && vh->o.attach(vh->o.tap_ctx, vh->active, true))
        vh->active++;
    unsigned was = vh->active;
    if (pairs < was)
        vh->active = pairs;
    if (vh->sending < vh->active || !virtio_is_live(vh->v))
        vh->sending = vh->active;
    vhost_update(vh);
    while (was > pairs)
        (void)!vh->o.attach(vh->o.tap_ctx, --was, false);
}

void vhost_set_link(struct vhost *vh, bool up)
{
    if (up && !vh->link)
        drain(vh);
    vh->link = up;
    vhost_update(vh);
}

void vhost_set_held(struct vhost *vh, bool held)
{
    vh->held = held;
    vhost_update(vh);
}

void vhost_vectors(struct vhost *vh)
{
    for (unsigned i = 0; i < 2 * vh->o.pairs; i++)
        if (vh->queues[i].running && !set_call(&vh->queues[i]))
            give_up(&vh->queues[i], "the host's kernel cannot interrupt for it");
}

void vhost_offload(struct vhost *vh, uint8_t accepts)
{
    vh->o.offload(vh->o.tap_ctx, accepts);
}

void vhost_print(struct vhost *vh, FILE *out)
{
    lock_take(&vh->v->pci.dev.lock);
    fprintf(out, "  vhost: %u of %u pair%s in use, %u piece%s of memory%s%s\n", vh->active, vh->o.pairs,
            vh->o.pairs == 1 ? "" : "s", vh->n_regions, vh->n_regions == 1 ? "" : "s",
            vh->logging ? ", dirty log" : "", vh->held ? ", held" : "");
    for (unsigned i = 0; i < 2 * vh->o.pairs; i++) {
        const struct vhost_queue *q = &vh->queues[i];
        if (q->starts)
            fprintf(out, "    queue %u: %s, interrupts by %s, started %llu times, errors %llu\n", i,
                    q->running ? "running" : "stopped", q->called == q->call_fd ? "the loop" : "irqfd",
                    (unsigned long long)q->starts, (unsigned long long)q->errors);
    }
    lock_drop(&vh->v->pci.dev.lock);
}

/* --- set-up */

static const char *remedy(int error)
{
    return error == ENOENT || error == ENODEV || error == ENXIO
               ? "the host's kernel has no vhost-net: modprobe vhost_net, or leave vhost= out"
           : error == EACCES || error == EPERM ? "run as root, let your group open it, or leave vhost= out"
                                               : "leave vhost= out";
}

static bool open_pair(struct vhost *vh, unsigned pair, char *err, size_t err_size)
{
    uint64_t features = 0;
    const char *what = "";
    int fd = vh->o.ops->open(vh->o.ctx), error = fd < 0 ? -fd : 0;
    if (!error) {
        vh->fds[pair] = fd;
        what = ": VHOST_SET_OWNER";
        error = -vh->o.ops->ioctl(vh->o.ctx, fd, VHOST_SET_OWNER, NULL);
    }
    if (!error) {
        what = ": VHOST_GET_FEATURES";
        error = -vh->o.ops->ioctl(vh->o.ctx, fd, VHOST_GET_FEATURES, &features);
    }
    if (!error && !(features >> VIRTIO_F_VERSION_1 & 1)) {
        what = ": it knows virtio 0.9.5 alone";
        error = EOPNOTSUPP;
    }
    if (error) {
        snprintf(err, err_size, "%s: /dev/vhost-net%s: %s (%s)", vh->o.name, what, strerror(error),
                 remedy(error));
        return false;
    }
    vh->features &= features;
    return true;
}

struct vhost *vhost_new(const struct vhost_options *o, char *err, size_t err_size)
{
    struct vhost *vh = calloc(1, sizeof *vh);
    if (!vh) {
        snprintf(err, err_size, "%s: vhost: out of memory", o->name);
        return NULL;
    }
    vh->o = *o;
    if (!o->ops)
        vh->o.ops = &host_ops;
    vh->active = vh->sending = 1;
    vh->link = true;
    vh->features = VHOST_CARES;
    for (unsigned pair = 0; pair < VHOST_PAIRS_MAX; pair++) {
        vh->fds[pair] = -1;
        for (unsigned i = 2 * pair; i < 2 * pair + 2; i++)
            vh->queues[i] =
                (struct vhost_queue){.vh = vh, .index = i, .call_fd = -1, .error_fd = -1, .called = -1};
    }
    for (unsigned pair = 0; pair < o->pairs; pair++)
        if (!open_pair(vh, pair, err, err_size)) {
            vhost_free(vh);
            return NULL;
        }
    return vh;
}

uint64_t vhost_features(const struct vhost *vh, uint64_t features)
{
    return features & ~(VHOST_CARES & ~vh->features);
}

bool vhost_knows_uso(const struct vhost *vh)
{
    return vh->o.uso;
}

static bool add_eventfd(struct vhost_queue *q, int *fd, struct loop_fd *watch, loop_fd_fn *fn)
{
    *fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return *fd >= 0 && loop_fd_add(q->vh->v->pci.dev.board->loop, watch, *fd, EPOLLIN, fn, q);
}

bool vhost_plug(struct vhost *vh, struct virtio_device *v)
{
    vh->v = v;
    for (unsigned i = 0; i < 2 * vh->o.pairs; i++) {
        struct vhost_queue *q = &vh->queues[i];
        /* Without MQ the control queue is number 2, which then is the loop's. */
        if (i != 2)
            virtio_hand_over(v, virtio_queue(v, i));
        if (!add_eventfd(q, &q->call_fd, &q->call, on_call) ||
            !add_eventfd(q, &q->error_fd, &q->error, on_error) ||
            !ring_file(q, &VHOST_REQUEST(VHOST_SET_VRING_ERR), q->error_fd) ||
            !ring_file(q, &VHOST_REQUEST(VHOST_SET_VRING_KICK), v->queues[i].kick_fd))
            return false;
    }
    vhost_listen(vh);
    return true;
}

void vhost_free(struct vhost *vh)
{
    if (!vh)
        return;
    if (vh->v)
        vhost_unlisten(vh);
    for (unsigned pair = 0; pair < VHOST_PAIRS_MAX; pair++)
        if (vh->fds[pair] >= 0)
            close(vh->fds[pair]);
    for (unsigned i = 0; i < 2 * VHOST_PAIRS_MAX; i++) {
        struct vhost_queue *q = &vh->queues[i];
        loop_fd_remove(&q->call);
        loop_fd_remove(&q->error);
        if (q->call_fd >= 0)
            close(q->call_fd);
        if (q->error_fd >= 0)
            close(q->error_fd);
    }
    free(vh);
}
