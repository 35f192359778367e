// SPDX-License-Identifier: MIT
/* The transport: capabilities, registers, features, status, MSI-X, saved state; section V as far as it concerns registers. */
#include "virtio_toy.h"

TEST(virtio_capabilities_are_those_of_the_specification)
{
    toy_start(ALL);
    CHECK_EQ(cf8(0, vd.pci->devfn, 0, 4), 0x106a1af4);
    CHECK(vd.cap_len[CAP_COMMON] >= 56 && vd.cap_len[CAP_ISR] >= 1 && vd.cap_len[CAP_DEVICE] == 24);
    CHECK(vd.multiplier == 4 && vd.cap_len[CAP_NOTIFY] >= 4 * (TOY_QUEUES - 1) + 2);
    CHECK_EQ(vd.cap[CAP_COMMON] % 4 | vd.cap[CAP_NOTIFY] % 2 | vd.cap[CAP_DEVICE] % 4, 0);
    CHECK_EQ(c_read(C_NUMQ, 2), TOY_QUEUES);
    CHECK_EQ(vd_features(), F_VERSION_1 | F_INDIR | F_EVENT | F_BIT(TOY_FEATURE) | F_BIT(TOY_NEEDS));
    CHECK_EQ(toy->driver_oks, 1);
}

TEST(virtio_is_reached_through_configuration_space_too)
{
    vdev_new(&toy_v_class, NULL);
    unsigned at = vd.access, devfn = vd.pci->devfn;
    cf8_write(devfn, at + 4, cf8(0, devfn, vd.access + 4, 1), 1);
    /* the bar and offset of the common structure, from its own capability */
    for (unsigned c = cf8(0, devfn, 0x34, 1); c; c = cf8(0, devfn, c + 1, 1)) {
        if (cf8(0, devfn, c, 1) != 9)
            continue;
        unsigned type = cf8(0, devfn, c + 3, 1);
        unsigned bar = cf8(0, devfn, c + 4, 1), offset = cf8(0, devfn, c + 8, 4);
        if (type == CAP_COMMON) {
            cf8_write(devfn, at + 4, bar, 1);
            cf8_write(devfn, at + 8, offset + C_STATUS, 4);
            cf8_write(devfn, at + 12, 1, 4);
            cf8_write(devfn, at + 16, ST_ACK, 1);
            CHECK_EQ(vd_status(), ST_ACK);
            CHECK_EQ(cf8(0, devfn, at + 16, 1), ST_ACK);
            cf8_write(devfn, at + 8, offset + C_NUMQ, 4);
            cf8_write(devfn, at + 12, 2, 4);
            CHECK_EQ(cf8(0, devfn, at + 16, 2), TOY_QUEUES);
        } else if (type == CAP_DEVICE) {
            cf8_write(devfn, at + 4, bar, 1);
            cf8_write(devfn, at + 8, offset + 8, 4);
            cf8_write(devfn, at + 12, 4, 4);
            cf8_write(devfn, at + 16, 0xabcdef12, 4);
            CHECK_EQ(g_read(vd.cap[CAP_DEVICE] + 8, 4), 0xabcdef12);
        }
    }
    /* every nonsense in its fields: nothing happens */
    uint64_t seed = 7;
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t r = test_rand(&seed);
        static const unsigned places[] = {4, 8, 12, 16};
        cf8_write(devfn, at + places[r & 3], (uint32_t)(r >> 8 & 1 ? r >> 32 : r >> 32 & 0x3fff),
                  r & 4 ? 4 : 1);
        cf8(0, devfn, at + 16, 4);
    }
    CHECK_EQ(toy->chains, 0);
}

TEST(virtio_msix_sends_to_the_vectors_that_the_driver_chose)
{
    toy_start(ALL);
    vdev_negotiate(ALL);
    /* the table: entry k sends data 0x30 + k; capability found by its id */
    unsigned msix = 0;
    for (unsigned c = cf8(0, vd.pci->devfn, 0x34, 1); c; c = cf8(0, vd.pci->devfn, c + 1, 1))
        if (cf8(0, vd.pci->devfn, c, 1) == 0x11)
            msix = c;
    CHECK(msix);
    CHECK_EQ(cf8(0, vd.pci->devfn, msix + 2, 2) & 0x7ff,
             TOY_QUEUES); /* one more than this: a vector for each, and one */
    uint64_t table = (cf8(0, vd.pci->devfn, 0x10 + 4 * (cf8(0, vd.pci->devfn, msix + 4, 4) & 7), 4) & ~15u) +
                     (cf8(0, vd.pci->devfn, msix + 4, 4) & ~7u);
    for (unsigned k = 0; k <= TOY_QUEUES; k++) {
        g_write(table + 16 * k, 0xfee00000, 4);
        g_write(table + 16 * k + 4, 0, 4);
        g_write(table + 16 * k + 8, 0x30 + k, 4);
        g_write(table + 16 * k + 12, 0, 4);
    }
    cf8_write(vd.pci->devfn, msix + 2, 0x8000, 2);
    c_write(C_MSIX, 0, 2);
    CHECK_EQ(c_read(C_MSIX, 2), 0);
    for (unsigned i = 0; i < TOY_QUEUES; i++) {
        c_write(C_SELECT, i, 2);
        vq_place(i, TOY_SIZE);
        vq_program(i);
        c_write(C_VECTOR, 500, 2); /* no such vector: none */
        CHECK_EQ(c_read(C_VECTOR, 2), 0xffff);
        c_write(C_VECTOR, i == 2 ? 0xffff : i + 1, 2);
        c_write(C_ENABLE, 1, 2);
    }
    vdev_driver_ok();
    vd_run();
    for (unsigned i = 0; i < TOY_QUEUES; i++) {
        unsigned sent = m->fake.sent;
        vq_add(i,
               (struct vq_buf[]){
                   {A, 4, 0}
        },
               1, 0);
        vq_kick(i);
        CHECK_EQ(m->fake.sent - sent, i < 2);
        if (i < 2)
            CHECK_EQ(m->fake.log[sent % FAKE_IRQ_LOG].data, 0x31 + i);
        CHECK(!vd_line());
    }
    unsigned sent = m->fake.sent, generation = (unsigned)c_read(C_GENERATION, 1);
    lock_take(&toy->v.pci.dev.lock);
    virtio_config_changed(&toy->v);
    lock_drop(&toy->v.pci.dev.lock);
    CHECK_EQ(m->fake.sent - sent, 1);
    CHECK_EQ(m->fake.log[sent % FAKE_IRQ_LOG].data, 0x30);
    CHECK(c_read(C_GENERATION, 1) != generation);
}

TEST(V10_sizes_and_enables)
{
    static const unsigned sizes[] = {0, 3, TOY_SIZE - 1, TOY_SIZE * 2, 0x8000, 0xffff};
    vdev_new(&toy_v_class, NULL);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        vdev_negotiate(ALL);
        vq_place(0, TOY_SIZE);
        vq_program(0);
        c_write(C_SIZE, sizes[i], 2);
        c_write(C_ENABLE, 1, 2);
        CHECK_EQ(c_read(C_ENABLE, 2), 0);
        CHECK(vd_status() & ST_NEEDS_RESET);
    }
    vdev_negotiate(ALL); /* before the addresses are given */
    c_write(C_SELECT, 0, 2);
    c_write(C_ENABLE, 1, 2);
    CHECK_EQ(c_read(C_ENABLE, 2), 0);
    vdev_negotiate(ALL); /* not 1 */
    vq_place(0, TOY_SIZE);
    vq_program(0);
    c_write(C_ENABLE, 2, 2);
    CHECK_EQ(c_read(C_ENABLE, 2), 0);
    c_write(C_STATUS, 0, 1); /* before the features are settled */
    vq_program(0);
    c_write(C_ENABLE, 1, 2);
    CHECK_EQ(c_read(C_ENABLE, 2), 0);
    for (unsigned size = 1; size <= TOY_SIZE; size *= 2) { /* every size that is one */
        vdev_start_sized(ALL, size);
        for (unsigned k = 0; k < 3 * size; k++) {
            unsigned used = vq_used_idx(0);
            vq_add(0,
                   (struct vq_buf[]){
                       {A, 4, 0}
            },
                   1, k % size);
            vq_kick(0);
            CHECK_EQ((uint16_t)(vq_used_idx(0) - used), 1);
        }
    }
}

TEST(V11_queues_stand_once_they_are_enabled)
{
    toy_start(ALL);
    c_write(C_SELECT, 0, 2);
    c_write(C_SIZE, 8, 2);
    c_write(C_DESC, 0xdead0000, 4);
    c_write(C_DESC, UINT64_MAX, 8);
    c_write(C_AVAIL + 4, 7, 4);
    c_write(C_USED, 0, 8);
    c_write(C_ENABLE, 0, 2);
    CHECK_EQ(c_read(C_SIZE, 2), TOY_SIZE);
    CHECK_EQ(c_read(C_DESC, 8), vd.q[0].desc);
    CHECK_EQ(c_read(C_AVAIL, 8), vd.q[0].avail);
    CHECK_EQ(c_read(C_USED, 4), vd.q[0].used);
    CHECK_EQ(c_read(C_ENABLE, 2), 1);
    FINE(4, 4, {A, 4, 0}, {B, 4, F_WRITE});
}

TEST(V12_queues_and_doorbells_that_are_not_there)
{
    vdev_new(&toy_v_class, NULL);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 65536; i++) {
            c_write(C_SELECT, i, 2);
            if (i >= TOY_QUEUES) {
                CHECK_EQ(c_read(C_SIZE, 2), 0);
                if (i % 1021 == 0) {
                    c_write(C_SIZE, 4, 2);
                    c_write(C_DESC, A, 8);
                    c_write(C_VECTOR, 0, 2);
                    c_write(C_ENABLE, 1, 2);
                    CHECK_EQ(c_read(C_SIZE, 2) | c_read(C_ENABLE, 2) | c_read(C_DESC, 8), 0);
                }
            }
            if (i < 300)
                g_write(vd.cap[CAP_NOTIFY] + i, i, 1 << i % 3);
            g_write(vd.cap[CAP_NOTIFY], i, 2);
        }
        vd_run();
        CHECK_EQ(toy->chains, 0);
        if (round == 0)
            vdev_negotiate(ALL); /* not enabled, no DRIVER_OK */
        else if (round == 1)
            vdev_start(ALL), c_write(C_STATUS, 0, 1); /* after reset */
    }
    vdev_start(ALL);
    FINE(4, 0, {A, 4, 0});
}

TEST(V13_rings_where_none_can_be)
{
    struct {
        uint64_t desc, avail, used;
    } bad[] = {
        {VQ_BASE + 8,        VQ_BASE + 0x2000, VQ_BASE + 0x4000           }, /* alignment */
        {VQ_BASE,            VQ_BASE + 0x2001, VQ_BASE + 0x4000           },
        {VQ_BASE,            VQ_BASE + 0x2000, VQ_BASE + 0x4002           },
        {VQ_BASE,            VQ_BASE,          VQ_BASE + 0x4000           }, /* over each other */
        {VQ_BASE,            VQ_BASE + 0x2000, VQ_BASE + 16 * TOY_SIZE - 4},
        {VQ_BASE,            VQ_BASE + 0x2000, VQ_BASE + 0x2000 + 4       },
        {UINT64_MAX - 15,    VQ_BASE + 0x2000, VQ_BASE + 0x4000           }, /* the end of everything */
        {VQ_BASE,            UINT64_MAX - 1,   VQ_BASE + 0x4000           },
        {VQ_BASE,            VQ_BASE + 0x2000, UINT64_MAX - 3             },
        {0xe0000000,         VQ_BASE + 0x2000, VQ_BASE + 0x4000           }, /* MMIO, holes, the end of RAM */
        {VQ_BASE,            0xfee00000,       VQ_BASE + 0x4000           },
        {VQ_BASE,            VQ_BASE + 0x2000, 0xc0000000                 },
        {RAM_END - 16,       VQ_BASE + 0x2000, VQ_BASE + 0x4000           },
        {VQ_BASE,            VQ_BASE + 0x2000, RAM_END - 8                },
        {vd.cap[CAP_COMMON], VQ_BASE + 0x2000, VQ_BASE + 0x4000           },
    };
    vdev_new(&toy_v_class, NULL);
    bad[14].desc = vd.cap[CAP_COMMON] & ~15ull;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        vdev_negotiate(ALL);
        vq_place(0, TOY_SIZE);
        vd.q[0].desc = bad[i].desc, vd.q[0].avail = bad[i].avail, vd.q[0].used = bad[i].used;
        vq_program(0);
        c_write(C_ENABLE, 1, 2);
        vdev_driver_ok();
        vq_kick(0);
        CHECK(vd_status() & ST_NEEDS_RESET);
        CHECK_EQ(toy->chains, 0);
    }
    /* two queues on one place are two drivers' quarrel, not ours */
    vdev_start(ALL);
    vdev_negotiate(ALL);
    for (unsigned i = 0; i < 2; i++) {
        vq_place(i, TOY_SIZE);
        vd.q[i].desc = vd.q[0].desc, vd.q[i].avail = vd.q[0].avail, vd.q[i].used = vd.q[0].used;
        vq_program(i);
        c_write(C_ENABLE, 1, 2);
    }
    vdev_driver_ok();
    vq_add(0,
           (struct vq_buf[]){
               {A, 4, 0}
    },
           1, 0);
    vq_kick(0);
    vq_kick(1);
}

TEST(V14_configuration_at_every_offset_and_width)
{
    toy_start(ALL);
    uint64_t base = vd.cap[CAP_DEVICE];
    for (unsigned at = 0; at < 4096; at++)
        for (unsigned size = 1; size <= 8; size *= 2) {
            uint64_t v = g_read(base + at, size);
            if (at + size <= 8 && at % size == 0)
                CHECK_EQ(v, 0x1122334455667788 >> 8 * at & (size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1));
            g_write(base + at, UINT64_MAX, size);
        }
    CHECK_EQ(toy->magic, 0x1122334455667788);
    CHECK_EQ(toy->half, 0xff); /* only what is writable */
    uint8_t odd[16];
    CHECK(!space_read(&m->memory, base, 3, odd)); /* no size of a register */
    CHECK(!space_write(&m->memory, base, 16, odd));
    for (unsigned at = 0; at < 0x4000; at++) /* the whole BAR */
        for (unsigned size = 1; size <= 8; size *= 2)
            g_read(vd.cap[CAP_COMMON] + at, size);
    FINE(4, 0, {A, 4, 0});
}

TEST(V15_random_walks_through_the_status_machine)
{
    uint64_t seed = 1;
    vdev_new(&toy_v_class, NULL);
    for (unsigned step = 0; step < test_scale(100000); step++) {
        uint64_t r = test_rand(&seed);
        unsigned value = (unsigned)(r >> 32);
        switch (r % 10) {
        case 0:
            c_write(C_STATUS, 0, 1);
            break;
        case 1:
        case 2:
            c_write(C_STATUS, value & 0xff, 1);
            break;
        case 3:
            vd_accept(value & 1 ? ALL : test_rand(&seed));
            break;
        case 4:
            c_write(C_SELECT, value % 5, 2);
            vq_place(value % 3, TOY_SIZE);
            vq_program(value % 3);
            c_write(C_ENABLE, 1, 2);
            break;
        case 5:
            vq_kick(value % 4);
            break;
        case 6:
            c_write(value % 0x40, test_rand(&seed), 1u << (value >> 8) % 4);
            break;
        default: /* most of the way as it should be */
            c_write(C_STATUS, vd_status() | 1u << value % 4, 1);
        }
        unsigned status = vd_status();
        CHECK(!(status & ST_DRIVER_OK) || status & ST_FEATURES_OK);
        CHECK(!(status & 0x30));
        CHECK(toy->chains == 0 || status != 0 || step > 0);
    }
    vdev_start(ALL);
    FINE(4, 0, {A, 4, 0});
}

TEST(V16_features_that_were_never_offered)
{
    vdev_new(&toy_v_class, NULL);
    for (unsigned bit = 0; bit < 64; bit++) {
        if (vd_features() >> bit & 1)
            continue;
        vdev_negotiate(ALL | F_BIT(bit));
        CHECK_EQ(vd_status(), ST_ACK | ST_DRIVER);
        vdev_driver_ok(); /* all the same */
        CHECK_EQ(vd_status() & (ST_DRIVER_OK | ST_FEATURES_OK), 0);
    }
    vdev_negotiate(F_INDIR); /* a driver of old */
    CHECK_EQ(vd_status(), ST_ACK | ST_DRIVER);
    vdev_negotiate(ALL | F_BIT(TOY_NEEDS)); /* the device's own conditions */
    CHECK_EQ(vd_status(), ST_ACK | ST_DRIVER);
    vdev_negotiate(ALL | F_BIT(TOY_NEEDS) | F_BIT(TOY_FEATURE));
    CHECK_EQ(vd_status(), ST_ACK | ST_DRIVER | ST_FEATURES_OK);
    vd_accept(UINT64_MAX); /* too late */
    c_write(C_GFSELECT, 0, 4);
    CHECK_EQ(c_read(C_GF, 4), (uint32_t)F_INDIR | 1u << TOY_NEEDS | 1u << TOY_FEATURE);
    c_write(C_GFSELECT, 2, 4);
    c_write(C_GF, 1, 4);
    CHECK_EQ(c_read(C_GF, 4), 0);
    c_write(C_DFSELECT, UINT32_MAX, 4);
    CHECK_EQ(c_read(C_DF, 4), 0);
}

TEST(V21_fields_that_are_read_only)
{
    toy_start(ALL);
    uint32_t caps[64];
    for (unsigned i = 0; i < 48; i++)
        caps[i] = cf8(0, vd.pci->devfn, 0x40 + 4 * i, 4);
    for (unsigned size = 1; size <= 4; size *= 2) {
        c_write(C_NUMQ, 77, size);
        c_write(C_NOFF, 77, size);
        c_write(C_GENERATION, 77, size);
        c_write(C_DF, 77, size);
        g_write(vd.cap[CAP_ISR], 3, size);
    }
    c_write(C_SELECT, 1, 2);
    CHECK_EQ(c_read(C_NUMQ, 2), TOY_QUEUES);
    CHECK_EQ(c_read(C_NOFF, 2), 1);
    CHECK_EQ(c_read(C_GENERATION, 1), 0);
    for (unsigned at = 0x40; at < 0x100; at += 4)
        cf8_write(vd.pci->devfn, at, ~0u, 4);
    for (unsigned c = cf8(0, vd.pci->devfn, 0x34, 1), n = 0; c; c = cf8(0, vd.pci->devfn, c + 1, 1)) {
        CHECK(++n < 10 && c >= 0x40);
        CHECK_EQ(cf8(0, vd.pci->devfn, c, 4),
                 caps[(c - 0x40) / 4] | (cf8(0, vd.pci->devfn, c, 1) == 0x11 ? 0xc0000000 : 0));
    }
}

/* --- a saved state is the same device */
TEST(virtio_state_is_saved_and_loaded)
{
    static uint8_t state[1 << 16];
    toy_start(ALL | F_EVENT);
    FINE(4, 0, {A, 4, 0});
    FINE(4, 0, {A, 4, 0});
    size_t n = device_save(&toy->v.pci.dev, state, sizeof state);
    CHECK(n < sizeof state);
    c_write(C_STATUS, 0, 1);
    const char *error = device_load(&toy->v.pci.dev, state, n);
    if (error)
        printf("%s\n", error);
    CHECK(!error);
    vd_run();
    CHECK_EQ(vd_status(), ST_ACK | ST_DRIVER | ST_FEATURES_OK | ST_DRIVER_OK);
    FINE(4, 4, {A, 4, 0}, {B, 4, F_WRITE});
    CHECK_EQ(vq_used_idx(0), 3);
}
