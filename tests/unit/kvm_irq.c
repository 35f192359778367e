/* SPDX-License-Identifier: MIT
 * Interrupt lines and MSI routes, on the fake. */
#include "test.h"
#include "fake_irq.h"
#include <errno.h>
#include <pthread.h>

static struct fake_irq fake;

TEST(irq_line_is_or_of_sources)
{
    struct irqs *irqs = fake_irq_new(&fake);
    struct irq_line a, b, other;
    irq_line_init(&a, irqs, 4, "a");
    irq_line_init(&b, irqs, 4, "b");
    irq_line_init(&other, irqs, 5, "other");
    irq_line_set(&a, true);
    irq_line_set(&a, true);
    CHECK_EQ(fake.changes[4], 1);
    irq_line_set(&b, true);
    irq_line_set(&a, false);
    CHECK(fake.level[4] && irq_level(irqs, 4));
    CHECK_EQ(fake.changes[4], 1);
    irq_line_set(&b, false);
    irq_line_set(&b, false);
    CHECK(!fake.level[4] && !irq_level(irqs, 4));
    CHECK_EQ(fake.changes[4], 2);
    CHECK_EQ(fake.changes[5], 0);
    irqs_free(irqs);
}

TEST(irq_route_sends_what_was_set)
{
    struct irqs *irqs = fake_irq_new(&fake);
    int gsi = irq_route_new(irqs);
    CHECK_EQ(gsi, IRQ_LINES);
    irq_route_send(irqs, gsi); /* not set: dropped */
    CHECK_EQ(fake.sent, 0);
    CHECK(irq_route_set(irqs, gsi, 0xfee01000, 0x4123));
    irq_route_send(irqs, gsi);
    CHECK_EQ(fake.sent, 1);
    CHECK_EQ(fake.log[0].addr, 0xfee01000);
    CHECK_EQ(fake.log[0].data, 0x4123);
    fake.refuse = true;
    irq_route_send(irqs, gsi);
    irq_route_send(irqs, gsi + 1); /* never taken */
    irq_route_send(irqs, -1);
    CHECK(!irq_route_set(irqs, 5, 0xfee00000, 0));
    struct irq_stats s;
    irq_stats(irqs, &s);
    CHECK_EQ(s.sent, 1);
    CHECK_EQ(s.dropped, 4);
    CHECK_EQ(s.routes, 1);
    CHECK_EQ(fake.updates, 0); /* nobody asked for an eventfd */
    irqs_free(irqs);
}

TEST(irq_route_fd_is_one_and_follows)
{
    struct irqs *irqs = fake_irq_new(&fake);
    int a = irq_route_new(irqs), b = irq_route_new(irqs);
    CHECK(irq_route_set(irqs, a, 0xfee00000, 0x30));
    int fd = irq_route_fd(irqs, a);
    CHECK(fd >= 0);
    CHECK_EQ(fd, irq_route_fd(irqs, a));
    CHECK_EQ(fake.table[0].data, 0x30); /* set before, told now */
    CHECK(irq_route_fd(irqs, b) != fd);
    CHECK(irq_route_set(irqs, b, 0xfee00000, 0x31));
    CHECK_EQ(fake.table[1].data, 0x31);
    CHECK(irq_route_set(irqs, b, 0xfee00000, 0x31)); /* the same: nothing is told */
    CHECK_EQ(fake.updates, 2);
    CHECK(!irq_route_set(irqs, b, 0x1000, 0x31));
    CHECK_EQ(fake.table[1].addr, 0);
    fake.update_error = -EINVAL; /* KVM refuses: the route sends nothing */
    CHECK(!irq_route_set(irqs, b, 0xfee00000, 0x32));
    irq_route_send(irqs, b);
    CHECK_EQ(fake.sent, 0);
    CHECK_EQ(irq_route_fd(irqs, b + 1), -EINVAL);
    irqs_free(irqs);
}

/* bad-inputs P8: a million rewrites of one entry take nothing. */
TEST(P8_rewrites_leak_no_route)
{
    struct irqs *irqs = fake_irq_new(&fake);
    int gsi = irq_route_new(irqs);
    int fd = irq_route_fd(irqs, gsi);
    struct irq_stats s;
    for (unsigned i = 0; i < 1000000; i++) {
        bool ok = irq_route_set(irqs, gsi, 0xfee00000 + (i % 255 << 12), 0x20 + i % 0xd0);
        CHECK(ok);
    }
    CHECK_EQ(irq_route_fd(irqs, gsi), fd);
    irq_stats(irqs, &s);
    CHECK_EQ(s.routes, 1);
    for (int i = 1; i < IRQ_ROUTES_MAX; i++)
        CHECK(irq_route_new(irqs) > gsi);
    CHECK_EQ(irq_route_new(irqs), -1);
    irqs_free(irqs);
}

/* bad-inputs P9: only messages that a device may send reach KVM. */
TEST(P9_no_msi_address_is_refused)
{
    struct irqs *irqs = fake_irq_new(&fake);
    int gsi = irq_route_new(irqs);
    static const struct {
        uint64_t addr;
        uint32_t data;
        bool ok;
    } cases[] = {
        {0xfee00000,            0x0040, true }, /* fixed */
        {0xfeefffff,            0x0040, true },
        {0xfee00000,            0x0140, true }, /* lowest priority */
        {0xfee00000,            0x0400, true }, /* NMI */
        {0xfee00000,            0x0500, true }, /* INIT */
        {0xfee00000,            0x0240, false}, /* SMI */
        {0xfee00000,            0x0340, false}, /* reserved */
        {0xfee00000,            0x0640, false},
        {0xfedfffff,            0x0040, false},
        {0xfef00000,            0x0040, false},
        {0,                     0x0040, false},
        {UINT64_C(0x1fee00000), 0x0040, false},
        {UINT64_MAX,            0x0040, false},
    };
    unsigned refused = 0;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK(irq_route_set(irqs, gsi, 0xfee00000, 0x41));
        bool ok = irq_route_set(irqs, gsi, cases[i].addr, cases[i].data);
        CHECK_EQ(ok, cases[i].ok);
        refused += !ok;
        unsigned before = fake.sent;
        irq_route_send(irqs, gsi); /* a refused route does not send its old message */
        CHECK_EQ(fake.sent, before + cases[i].ok);
    }
    uint64_t seed = 9;
    for (unsigned long i = 0; i < test_scale(100000); i++) {
        uint64_t addr = test_rand(&seed) >> test_rand(&seed) % 64;
        uint32_t data = (uint32_t)test_rand(&seed);
        bool ok = irq_route_set(irqs, gsi, addr, data);
        refused += !ok;
        irq_route_send(irqs, gsi);
        if (ok)
            CHECK_EQ(fake.log[(fake.sent - 1) % FAKE_IRQ_LOG].addr >> 20, 0xfee);
    }
    struct irq_stats s;
    irq_stats(irqs, &s);
    CHECK_EQ(s.refused, refused);
    irqs_free(irqs);
}

enum {
    ROUNDS = 20000,
};
static void *toggle(void *arg)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        irq_line_set(arg, !(i & 1));
    return NULL;
}

static void *rewrite(void *arg)
{
    for (unsigned i = 0; i < ROUNDS; i++)
        if (!irq_route_set(arg, IRQ_LINES, 0xfee00000 + (i & 1 ? 0x1000 : 0), i & 1 ? 0x31 : 0x30))
            return arg;
    return NULL;
}

/* Two threads on one line leave it as its sources are; a message is never half of one and half of another. */
TEST(irq_threads_agree)
{
    struct irqs *irqs = fake_irq_new(&fake);
    struct irq_line a, b;
    pthread_t ta, tb, tr;
    irq_line_init(&a, irqs, 11, "a");
    irq_line_init(&b, irqs, 11, "b");
    int gsi = irq_route_new(irqs);
    CHECK(!pthread_create(&ta, NULL, toggle, &a) && !pthread_create(&tb, NULL, toggle, &b) &&
          !pthread_create(&tr, NULL, rewrite, irqs));
    bool torn = false;
    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned before = fake.sent;
        irq_route_send(irqs, gsi);
        if (fake.sent == before)
            continue;
        struct fake_irq_message m = fake.log[before % FAKE_IRQ_LOG];
        torn |= (m.addr >> 12 & 1) != (m.data & 1);
    }
    void *failed;
    pthread_join(ta, NULL);
    pthread_join(tb, NULL);
    pthread_join(tr, &failed);
    CHECK(!failed && !torn);
    CHECK(!fake.level[11]);
    CHECK_EQ(fake.changes[11] % 2, 0);
    irqs_free(irqs);
}
