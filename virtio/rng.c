// SPDX-License-Identifier: MIT
/* virtio-rng: random bytes from the host's getrandom(), straight into the guest's buffers. The rate is bounded (rate=), so
 * that a guest that reads without end does not keep the loop from other devices: bytes are earned with time, up to a
 * burst, and a request that finds none waits for a timer. A request gets what there is of its length, and at least one
 * byte, as the specification allows. Runs on the loop, under the device's lock.
 *
 * Source: virtio 1.2, 5.4. */
#include "virtio/rng.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "kvm/host/log.h"
#include "kvm/host/ns.h"
#include "virtio/pci.h"

enum {
    RNG_QUEUE = 64,
    RNG_BURST = 64 << 10, /* bytes; also the most that one turn takes */
    RNG_LEAST = 1 << 10,  /* worth waking up for */
};
#define RNG_RETRY UINT64_C(100000000) /* ns, when the host has no entropy yet */

struct rng {
    struct virtio_device v; /* first */
    uint64_t rate;          /* bytes a second */
    uint64_t earned, since; /* bytes; loop's time of the last account, ns */
    struct device_timer more;
    struct iovec iov[RNG_QUEUE + VIRTQ_SPARE];
};

static void earn(struct rng *r)
{
    uint64_t now = loop_now(r->v.pci.dev.board->loop), passed = now - r->since;
    uint64_t full = RNG_BURST * SECOND / r->rate + 1; /* ns from nothing to the burst */
    if (passed >= full) {
        r->earned = RNG_BURST;
        r->since = now;
        return;
    }
    uint64_t bytes = passed * r->rate / SECOND;
    if (bytes) { /* else the time goes on counting */
        r->earned = r->earned + bytes < RNG_BURST ? r->earned + bytes : RNG_BURST;
        r->since = now;
    }
}

/* How many bytes it put into the pieces, at most `most`. */
static size_t fill(const struct virtq_chain *c, size_t most)
{
    size_t done = 0;
    for (unsigned i = c->out_n; i < (unsigned)c->out_n + c->in_n && done < most;) {
        size_t at = 0, len = c->iov[i].iov_len < most - done ? c->iov[i].iov_len : most - done;
        while (at < len) {
            ssize_t n = getrandom((char *)c->iov[i].iov_base + at, len - at, GRND_NONBLOCK);
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return done + at;
            at += (size_t)n;
        }
        done += len;
        i++;
    }
    return done;
}

static void rng_queue_ready(struct virtio_device *v, struct virtq *q)
{
    struct rng *r = (struct rng *)v;
    struct virtq_chain c = {.iov = r->iov, .room = RNG_QUEUE + VIRTQ_SPARE};
    earn(r);
    while (r->earned && virtq_pop(q, &c)) {
        size_t n = fill(&c, r->earned);
        if (!n && c.in_len) {
            const struct virtq_chain *back = &c;
            virtq_unpop(q, &back, 1);
            device_timer_set(&r->more, loop_now(v->pci.dev.board->loop) + RNG_RETRY);
            return;
        }
        r->earned -= n;
        virtq_push(q, &c, (uint32_t)n);
    }
    if (!r->earned) /* somebody may wait: not looked at before there is something to give */
        device_timer_set(&r->more, loop_now(v->pci.dev.board->loop) + RNG_LEAST * SECOND / r->rate + 1);
}

static void rng_more(struct device *dev)
{
    struct rng *r = (struct rng *)dev;
    virtio_turn(&r->v, virtio_queue(&r->v, 0));
}

static bool rng_reset(struct virtio_device *v)
{
    device_timer_cancel(&((struct rng *)v)->more);
    return true;
}

static const struct virtio_type rng_type = {
    .id = 4,
    .legacy_id = 0x1005,
    .pci_class = 0x00ff00,
    .queue_ready = rng_queue_ready,
    .features = 1ull << VIRTIO_F_IN_ORDER,
    .reset = rng_reset,
};

static const char *rng_init(struct device *dev, struct board *board)
{
    struct rng *r = (struct rng *)dev;
    device_timer_init(dev, &r->more, rng_more);
    r->earned = RNG_BURST;
    r->since = loop_now(board->loop);
    virtio_add_queue(&r->v, RNG_QUEUE);
    return virtio_init(&r->v, board, &rng_type);
}

static const struct opt rng_options[] = {
    OPT_SIZE(struct rng, rate, "rate", 0, 1, "bytes a second that the guest may take", .min = 1 << 10,
             .max = 1u << 30, .dflt = "16M", .flags = OPT_PRESET),
    OPT_END,
};
static const struct state_field rng_state[] = {VIRTIO_STATE, {0}};

const struct device_class rng_class = {
    .name = "virtio-rng",
    .help = "random numbers from the host (PCI 1af4:1044)",
    .size = sizeof(struct rng),
    .options = rng_options,
    .state = rng_state,
    .init = rng_init,
    VIRTIO_CLASS(NULL),
};
