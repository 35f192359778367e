// SPDX-License-Identifier: MIT
/* Fragments of both families put together again, within bounds (RFC 791, 3.2; 8200, 4.5; 5722).
 *
 * SLOTS packets at a time, each in a buffer of its own with one bit for every eight bytes that came. A fragment that
 * overlaps another in part, or disagrees about where the packet ends, takes the whole packet with it: nobody honest
 * sends such. One that came before is ignored. The oldest packet makes room for a new one; what is not whole after
 * TIMEOUT is forgotten, and its sender told (if the first fragment, which that message quotes, did come). The
 * timer runs only while something waits. */
#include <stdlib.h>
#include <sys/mman.h>

#include "net/user_priv.h"

enum {
    SLOTS = 16,
    BLOCK = 8,
    BLOCKS = (IP_PACKET_MAX + BLOCK) / BLOCK,
};
#define TIMEOUT (30ull * 1000 * 1000 * 1000)

struct slot {
    bool used;
    struct ip_packet p; /* of the last fragment; the payload is data */
    uint32_t id;
    uint64_t deadline;
    uint64_t age;
    size_t total; /* not 0: the last fragment came */
    size_t have;  /* bytes */
    uint64_t seen[BLOCKS / 64 + 1];
    uint8_t *data; /* IP_PACKET_MAX */
};

struct frags {
    struct user *u;
    struct loop_timer timer;
    uint64_t age; /* packets so far */
    struct slot slots[SLOTS];
    uint8_t *memory;
};

static void set_timer(struct frags *fr)
{
    uint64_t first = LOOP_NEVER;
    for (int i = 0; i < SLOTS; i++)
        if (fr->slots[i].used && fr->slots[i].deadline < first)
            first = fr->slots[i].deadline;
    loop_timer_set(&fr->timer, first);
}

static void expire(void *arg)
{
    struct frags *fr = arg;
    uint64_t now = loop_now(fr->u->loop);
    for (int i = 0; i < SLOTS; i++) {
        struct slot *s = &fr->slots[i];
        if (!s->used || s->deadline > now)
            continue;
        s->used = false;
        user_drop(fr->u, USER_DROP_FRAGMENT_TIME);
        if (s->seen[0] & 1) {
            struct iovec iov = {s->data, BLOCK};
            s->p.iov = &iov;
            s->p.n = 1;
            s->p.len = BLOCK;
            ip_refuse(fr->u, &s->p, IP_REASSEMBLY, 0, NULL);
        }
    }
    set_timer(fr);
}

struct frags *frags_new(struct user *u)
{
    struct frags *fr = calloc(1, sizeof *fr);
    if (!fr)
        return NULL;
    fr->memory = mmap(NULL, (size_t)SLOTS * (IP_PACKET_MAX + 1), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fr->memory == MAP_FAILED) {
        free(fr);
        return NULL;
    }
    fr->u = u;
    for (int i = 0; i < SLOTS; i++)
        fr->slots[i].data = fr->memory + (size_t)i * (IP_PACKET_MAX + 1);
    loop_timer_init(u->loop, &fr->timer, expire, fr);
    return fr;
}

void frags_free(struct frags *fr)
{
    if (!fr)
        return;
    loop_timer_cancel(&fr->timer);
    munmap(fr->memory, (size_t)SLOTS * (IP_PACKET_MAX + 1));
    free(fr);
}

static struct slot *find(struct frags *fr, const struct ip_packet *p, uint32_t id)
{
    struct slot *room = &fr->slots[0];
    for (int i = 0; i < SLOTS; i++) {
        struct slot *s = &fr->slots[i];
        if (s->used && s->id == id && s->p.proto == p->proto && ip_same(&s->p.src, &p->src) &&
            ip_same(&s->p.dst, &p->dst))
            return s;
        if (room->used && (!s->used || s->age < room->age))
            room = s;
    }
    if (room->used)
        user_drop(fr->u, USER_DROP_FRAGMENT_ROOM);
    room->used = true;
    room->p = *p;
    room->id = id;
    room->age = ++fr->age;
    room->total = room->have = 0;
    memset(room->seen, 0, sizeof room->seen);
    room->deadline = loop_now(fr->u->loop) + TIMEOUT;
    set_timer(fr);
    return room;
}

/* How many of the blocks [first, last] came already. */
static unsigned seen_blocks(const struct slot *s, size_t first, size_t last)
{
    unsigned n = 0;
    for (size_t b = first; b <= last; b++)
        n += s->seen[b / 64] >> b % 64 & 1;
    return n;
}

void frag_input(struct user *u, const struct ip_packet *p, uint32_t id, size_t offset, bool more)
{
    size_t max = IP_PACKET_MAX - (p->v6 ? 0 : IP4_HEADER);
    if (p->len == 0 || (more && p->len % BLOCK) || offset > max || p->len > max - offset) {
        user_drop(u, USER_DROP_FRAGMENT);
        return;
    }
    struct slot *s = find(u->frags, p, id);
    size_t end = offset + p->len, first = offset / BLOCK, last = (end - 1) / BLOCK;
    unsigned seen = seen_blocks(s, first, last);
    if (seen == last - first + 1 && (more || s->total == end))
        return; /* it came twice */
    if (seen || (s->total && (end > s->total || !more)) ||
        (!more && s->have && seen_blocks(s, last + 1, BLOCKS - 1))) {
        user_drop(u, USER_DROP_FRAGMENT);
        s->used = false;
        set_timer(u->frags);
        return;
    }
    ip_copy(p, 0, s->data + offset, p->len);
    for (size_t b = first; b <= last; b++)
        s->seen[b / 64] |= 1ull << b % 64;
    s->have += p->len;
    if (!more)
        s->total = end;
    if (!s->total || s->have < s->total)
        return;

    struct iovec iov = {s->data, s->total};
    struct ip_packet whole = *p;
    whole.iov = &iov;
    whole.n = 1;
    whole.len = s->total;
    whole.df = whole.csum_ok = false;
    whole.gso_size = 0;
    s->used = false; /* its data stays as it is until the next fragment comes */
    set_timer(u->frags);
    if (p->v6)
        ip6_deliver(u, &whole, whole.proto, 0);
    else
        user_deliver(u, &whole);
}
