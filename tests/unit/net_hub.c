// SPDX-License-Identifier: MIT
/* The hub: everybody else gets every frame, once and in order; nobody who is alive loses one; nobody who is dead holds the
 * others up for more than HUB_PATIENCE. */
#include "test.h"

#include "net/hub.h"

enum {
    ENDS = 4,
    SEEN = 4096
};

struct end {
    struct port port; /* first */
    int room;         /* frames that it takes; -1: any */
    unsigned ready;
    uint32_t seen[SEEN], n;
};

static uint64_t now;
static struct loop *loop;
static struct net net;
static struct hub *hub;
static struct end ends[ENDS];

static uint64_t fake_now(void *ctx)
{
    (void)ctx;
    return now;
}

static enum port_result end_receive(struct port *port, const struct iovec *iov, int n,
                                    const struct port_meta *meta)
{
    struct end *e = (struct end *)port;
    uint8_t frame[64] = {0};
    (void)meta;
    if (!e->room)
        return PORT_BUSY;
    e->room -= e->room > 0;
    for (int i = 0, at = 0; i < n; at += (int)iov[i++].iov_len)
        memcpy(frame + at, iov[i].iov_base, iov[i].iov_len);
    memcpy(&e->seen[e->n++ % SEEN], frame, 4);
    return PORT_SENT;
}

static void end_ready(struct port *port)
{
    ((struct end *)port)->ready++;
}

static const struct port_ops end_ops = {.receive = end_receive, .ready = end_ready};

static void set_up(void)
{
    now = 1000;
    loop = loop_new(&(struct clock){fake_now, NULL});
    net_init(&net, loop);
    hub = hub_new(&net, "lan");
    CHECK(hub);
    for (unsigned i = 0; i < ENDS; i++) {
        ends[i] = (struct end){.room = -1};
        CHECK(port_init(&ends[i].port, &net, "end", &end_ops));
        ends[i].room = -1;
        struct port *p = hub_port(hub);
        CHECK(p);
        port_connect(&ends[i].port, p);
    }
}

static void tear_down(void)
{
    hub_free(hub);
    for (unsigned i = 0; i < ENDS; i++)
        port_free(&ends[i].port);
    loop_free(loop);
}

static enum port_result say(unsigned from, uint32_t number)
{
    static const struct port_meta none;
    uint8_t frame[60] = {0};
    memcpy(frame, &number, 4);
    struct iovec iov[2] = {
        {frame,      20},
        {frame + 20, 40}
    };
    return port_send(&ends[from].port, iov, 2, &none);
}

static void steps(void)
{
    while (loop_step(loop))
        ;
}

TEST(hub_gives_a_frame_to_all_but_its_sender)
{
    set_up();
    for (uint32_t i = 0; i < 100; i++)
        CHECK(say(i % ENDS, i) == PORT_SENT);
    steps();
    for (unsigned i = 0; i < ENDS; i++) {
        CHECK_EQ(ends[i].n, 75);
        for (uint32_t k = 0, want = 0; k < 75; k++, want++) {
            want += want % ENDS == i;
            CHECK_EQ(ends[i].seen[k], want);
        }
    }
    tear_down();
}

TEST(hub_loses_nothing_for_a_slow_member)
{
    set_up();
    uint32_t next = 0;
    ends[1].room = 0;
    while (next < 1000) {
        if (say(0, next) == PORT_SENT) {
            next++;
            continue;
        }
        CHECK_EQ(ends[0].ready, 0);
        ends[1].room = 3;
        port_ready(&ends[1].port);
        steps();
        CHECK_EQ(ends[0].ready, 1); /* once for each BUSY */
        ends[0].ready = 0;
        now += HUB_PATIENCE / 10;
    }
    ends[1].room = -1;
    port_ready(&ends[1].port);
    steps();
    for (unsigned i = 1; i < ENDS; i++) {
        CHECK_EQ(ends[i].n, 1000);
        for (uint32_t k = 0; k < 1000; k++)
            CHECK_EQ(ends[i].seen[k], k);
    }
    tear_down();
}

/* What is lost is the dead member's alone, and it comes back to life. */
TEST(hub_goes_on_without_a_dead_member)
{
    set_up();
    ends[1].room = 0;
    CHECK(say(0, 0) == PORT_SENT); /* kept for end 1 */
    CHECK(say(0, 1) == PORT_BUSY);
    CHECK(say(2, 1) == PORT_BUSY);
    CHECK_EQ(loop_next(loop), 1000 + HUB_PATIENCE);
    now += HUB_PATIENCE - 1;
    steps();
    CHECK_EQ(ends[0].ready, 0);
    now++;
    steps();
    CHECK_EQ(ends[0].ready, 1);
    CHECK_EQ(ends[2].ready, 1);
    for (uint32_t i = 1; i < 50; i++)
        CHECK(say(0, i) == PORT_SENT);
    steps();
    CHECK_EQ(loop_next(loop), LOOP_NEVER); /* an idle hub wakes nobody */
    CHECK_EQ(ends[1].n, 0);
    CHECK_EQ(ends[2].n, 50);
    ends[1].room = -1;
    port_ready(&ends[1].port);
    steps();
    CHECK_EQ(ends[1].n, 1); /* the one that was kept */
    CHECK(say(0, 99) == PORT_SENT);
    steps();
    CHECK_EQ(ends[1].n, 2);
    CHECK_EQ(ends[1].seen[1], 99);
    tear_down();
}

/* A member that says again and again that it is ready, and takes nothing, buys no time by it. */
TEST(hub_is_not_held_up_by_promises)
{
    set_up();
    ends[1].room = 0;
    CHECK(say(0, 0) == PORT_SENT);
    CHECK(say(0, 1) == PORT_BUSY);
    for (unsigned i = 0; i < 10; i++) {
        now += HUB_PATIENCE / 10;
        port_ready(&ends[1].port);
        steps();
    }
    CHECK_EQ(ends[0].ready, 1);
    CHECK(say(0, 1) == PORT_SENT);
    tear_down();
}

TEST(hub_member_that_is_unplugged_holds_nobody_up)
{
    set_up();
    ends[1].room = 0;
    CHECK(say(0, 0) == PORT_SENT);
    CHECK(say(0, 1) == PORT_BUSY);
    port_disconnect(&ends[1].port);
    steps();
    CHECK_EQ(ends[0].ready, 1);
    CHECK(say(0, 1) == PORT_SENT);
    steps();
    CHECK_EQ(ends[2].n, 2);
    tear_down();
}

TEST(hub_has_a_bound)
{
    set_up();
    for (unsigned i = ENDS; i < HUB_PORTS; i++)
        CHECK(hub_port(hub));
    CHECK(!hub_port(hub));
    CHECK(say(0, 0) == PORT_SENT); /* ports that nobody joined are no members */
    steps();
    CHECK_EQ(ends[1].n, 1);
    char text[4096] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    hub_print(hub, f);
    fclose(f);
    CHECK(strstr(text, "hub lan:") && strstr(text, "lan.0 to end: 0 frames"));
    tear_down();
}
