// SPDX-License-Identifier: MIT
/* The small fixed devices: power management, reset, i8042, pvpanic, exit ports; and every one of their ports in every width
 * and direction. */
#include "devices/platform.h"
#include "devices/pm.h"
#include "devices/serial.h"
#include "fake_board.h"

static struct fake_board fb;

static bool ended(enum board_end why, int status)
{
    bool yes = fb.ends == 1 && fb.why == why && fb.status == status;
    if (!yes)
        printf("%u ends, why %d, status %d\n", fb.ends, fb.why, fb.status);
    fb.ends = 0;
    return yes;
}

TEST(exit_port_gives_the_plain_value)
{
    board_make(&fb);
    board_device(&fb, &exit_class, NULL);
    outb(&fb, 0xf8, 7);
    CHECK(ended(BOARD_EXIT, 7));
    port_out(&fb, 0xf8, 0x1234, 2);
    CHECK(ended(BOARD_EXIT, 0x34));
    port_out(&fb, 0xf8, 0xdeadbeff, 4);
    CHECK(ended(BOARD_EXIT, 0xff));
    outb(&fb, 0xf9, 1);
    outb(&fb, 0xf7, 1);
    CHECK_EQ(inb(&fb, 0xf8), 0);
    CHECK_EQ(fb.ends, 0);
    board_break(&fb);
}

TEST(debug_exit_gives_twice_plus_one)
{
    board_make(&fb);
    board_device(&fb, &debugexit_class, NULL);
    outb(&fb, 0xf4, 0);
    CHECK(ended(BOARD_EXIT, 1));
    port_out(&fb, 0xf4, 0x10, 4);
    CHECK(ended(BOARD_EXIT, 0x21));
    port_out(&fb, 0xf4, 0xff, 2);
    CHECK(ended(BOARD_EXIT, 0xff));
    port_out(&fb, 0xf5, 5, 1);
    port_out(&fb, 0xf0, 5, 4);
    CHECK_EQ(fb.ends, 0);
    board_break(&fb);
}

TEST(pvpanic_tells_a_panic_from_a_crash_kernel)
{
    board_make(&fb);
    board_device(&fb, &pvpanic_class, NULL);
    CHECK_EQ(inb(&fb, 0x505), 3);
    outb(&fb, 0x505, 2);
    outb(&fb, 0x505, 0);
    CHECK_EQ(fb.ends, 0);
    outb(&fb, 0x505, 1);
    CHECK(ended(BOARD_PANIC, 0));
    CHECK_EQ(inb(&fb, 0x505), 3);
    board_break(&fb);
}

TEST(reset_register_resets_on_RST_CPU_only)
{
    board_make(&fb);
    board_device(&fb, &reset_class, NULL);
    outb(&fb, 0xcf9, 0x02);
    CHECK_EQ(fb.ends, 0);
    CHECK_EQ(inb(&fb, 0xcf9), 0x02);
    outb(&fb, 0xcf9, RESET_VALUE);
    CHECK(ended(BOARD_REBOOT, 0));
    port_out(&fb, 0xcf9, 0x0606, 2); /* no byte access: nobody's */
    port_out(&fb, 0xcf8, 0x80000600, 4);
    port_out(&fb, 0xcfa, 0x06, 1);
    CHECK_EQ(fb.ends, 0);
    board_break(&fb);
}

/* ---- power management ---- */

enum {
    STS = PM1A_EVT_BLK,
    EN = PM1A_EVT_BLK + 2,
    CNT = PM1A_CNT_BLK
};

TEST(pm_power_off_by_S5)
{
    board_make(&fb);
    board_device(&fb, &pm_class, NULL);
    CHECK_EQ(port_in(&fb, CNT, 2), 1);          /* SCI_EN */
    port_out(&fb, CNT, PM_SLP_TYP_S5 << 10, 2); /* ACPICA writes the type, then the type with SLP_EN */
    CHECK_EQ(fb.ends, 0);
    CHECK_EQ(port_in(&fb, CNT, 2), 1 | PM_SLP_TYP_S5 << 10);
    port_out(&fb, CNT, PM_SLP_TYP_S5 << 10 | 1 << 13, 2);
    CHECK(ended(BOARD_POWEROFF, 0));
    CHECK_EQ(port_in(&fb, CNT, 2), 1 | PM_SLP_TYP_S5 << 10); /* SLP_EN reads 0 */
    for (unsigned typ = 0; typ < 8; typ++)
        if (typ != PM_SLP_TYP_S5)
            port_out(&fb, CNT, typ << 10 | 1 << 13, 2);
    CHECK_EQ(fb.ends, 0);
    port_out(&fb, CNT + 1, (PM_SLP_TYP_S5 << 10 | 1 << 13) >> 8, 1); /* bytes will do */
    CHECK(ended(BOARD_POWEROFF, 0));
    board_break(&fb);
}

TEST(pm_power_button)
{
    board_make(&fb);
    struct device *pm = board_device(&fb, &pm_class, NULL);
    CHECK(!pm_power_button(pm)); /* nobody listens */
    CHECK(!fb.irq.level[PM_SCI]);
    CHECK_EQ(port_in(&fb, STS, 2), 0x100);
    port_out(&fb, STS, 0x100, 2);
    CHECK_EQ(port_in(&fb, STS, 2), 0);
    port_out(&fb, EN, 0x100, 2);
    CHECK(pm_power_button(pm));
    CHECK(fb.irq.level[PM_SCI]);
    port_out(&fb, STS, 0xfeff, 2);
    CHECK(fb.irq.level[PM_SCI]);
    port_out(&fb, STS + 1, 0x01, 1);
    CHECK(!fb.irq.level[PM_SCI]);
    pm_power_button(pm);
    port_out(&fb, EN, 0, 2);
    CHECK(!fb.irq.level[PM_SCI]);
    port_out(&fb, EN, 0xffff, 2);
    CHECK_EQ(port_in(&fb, EN, 2), 0x721);
    CHECK(fb.irq.level[PM_SCI]);
    device_reset(pm);
    CHECK(!fb.irq.level[PM_SCI]);
    board_break(&fb);
}

TEST(pm_timer_counts_guest_time)
{
    board_make(&fb);
    board_device(&fb, &pm_class, NULL);
    CHECK_EQ(port_in(&fb, PM_TMR_BLK, 4), 0);
    board_pass(&fb, 1000000000);
    CHECK_EQ(port_in(&fb, PM_TMR_BLK, 4), 3579545);
    fb.now += 5000000000; /* paused */
    CHECK_EQ(port_in(&fb, PM_TMR_BLK, 4), 3579545);
    port_out(&fb, PM_TMR_BLK, 0, 4);
    CHECK_EQ(port_in(&fb, PM_TMR_BLK, 4), 3579545);
    fb.guest = 86400ull * 365 * 20 * 1000000000; /* twenty years: no overflow on the way */
    CHECK_EQ(port_in(&fb, PM_TMR_BLK, 4), (86400ull * 365 * 20 * 3579545) & 0xffffffff);
    board_break(&fb);
}

TEST(pm_timer_carry)
{
    const uint64_t half = (1ull << 31) * 1000000000 / PM_TIMER_HZ + 1; /* bit 31 changes: 10 minutes */
    board_make(&fb);
    board_device(&fb, &pm_class, NULL);
    CHECK_EQ(board_run(&fb, half - 1000), 0); /* not enabled: nothing ticks */
    CHECK_EQ(port_in(&fb, STS, 2), 0);
    board_run(&fb, 1000);
    CHECK_EQ(port_in(&fb, STS, 2), 1);
    port_out(&fb, STS, 1, 2);
    CHECK_EQ(port_in(&fb, STS, 2), 0);
    port_out(&fb, EN, 1, 2);
    CHECK_EQ(board_run(&fb, half - 2000), 0);
    CHECK(!fb.irq.level[PM_SCI]);
    CHECK_EQ(board_run(&fb, 4000), 1);
    CHECK(fb.irq.level[PM_SCI]);
    CHECK_EQ(board_run(&fb, 4 * half), 0); /* pending: no more wakes */
    port_out(&fb, STS, 1, 2);
    CHECK(!fb.irq.level[PM_SCI]);
    fb.guest -= half / 2; /* as if paused: the timer wakes too early, and tries again */
    port_out(&fb, EN, 1, 2);
    board_run(&fb, 2 * half);
    CHECK(fb.irq.level[PM_SCI]);
    board_break(&fb);
}

/* ---- i8042 ---- */

TEST(pm_timer_carry_while_paused_does_not_spin)
{
    board_make(&fb);
    board_device(&fb, &pm_class, NULL);
    fb.guest = (uint64_t)((1ull << 31) * 1000000000.0 / PM_TIMER_HZ) - 1000; /* a microsecond before */
    port_out(&fb, PM_BASE + 2, 1, 2);
    unsigned wakes = 0;
    for (uint64_t end = fb.now + 1000000000; loop_next(fb.b.loop) <= end; wakes++) {
        uint64_t next = loop_next(fb.b.loop);
        fb.now = next > fb.now ? next : fb.now;
        while (loop_step(fb.b.loop))
            ;
    }
    CHECK(wakes > 0 && wakes <= 25);
    CHECK(!fb.irq.level[PM_SCI]);
    board_pass(&fb, 60000000);
    CHECK(fb.irq.level[PM_SCI]);
    board_break(&fb);
}

TEST(i8042_probe_is_answered_at_once)
{
    board_make(&fb);
    board_device(&fb, &i8042_class, NULL);
    CHECK_EQ(inb(&fb, 0x64), 0x10);
    outb(&fb, 0x64, 0xaa);
    CHECK_EQ(inb(&fb, 0x64) & 1, 1);
    CHECK_EQ(inb(&fb, 0x60), 0x55);
    CHECK_EQ(inb(&fb, 0x64) & 1, 0);
    outb(&fb, 0x64, 0xab);
    CHECK_EQ(inb(&fb, 0x60), 0x00);
    outb(&fb, 0x64, 0x60);
    outb(&fb, 0x60, 0x47);
    outb(&fb, 0x64, 0x20);
    CHECK(fb.irq.level[1]);
    CHECK_EQ(inb(&fb, 0x60), 0x47);
    CHECK(!fb.irq.level[1]);
    outb(&fb, 0x60, 0xff); /* reset to a keyboard that is not there */
    CHECK_EQ(inb(&fb, 0x64) & 0x61, 0x41);
    CHECK_EQ(inb(&fb, 0x60), 0xfe);
    outb(&fb, 0x64, 0xd3); /* the loop test of the second port */
    outb(&fb, 0x60, 0x5a);
    CHECK_EQ(inb(&fb, 0x64) & 0x21, 0x21);
    CHECK(fb.irq.level[12]);
    CHECK_EQ(inb(&fb, 0x60), 0x5a);
    outb(&fb, 0x64, 0xd4);
    outb(&fb, 0x60, 0xf2);
    CHECK_EQ(inb(&fb, 0x64) & 0x61, 0x61);
    CHECK_EQ(inb(&fb, 0x60), 0xfe);
    CHECK_EQ(fb.ends, 0);
    board_break(&fb);
}

TEST(i8042_resets)
{
    board_make(&fb);
    board_device(&fb, &i8042_class, NULL);
    outb(&fb, 0x64, 0xff);
    CHECK_EQ(fb.ends, 0);
    outb(&fb, 0x64, 0xfe);
    CHECK(ended(BOARD_REBOOT, 0));
    outb(&fb, 0x64, 0xd1);
    outb(&fb, 0x60, 0x03);
    CHECK_EQ(fb.ends, 0);
    outb(&fb, 0x64, 0xd1);
    outb(&fb, 0x60, 0x02);
    CHECK(ended(BOARD_REBOOT, 0));
    board_break(&fb);
}

TEST(S5_i8042_command_flood_and_ten_thousand_resets)
{
    uint64_t seed = 5;
    board_make(&fb);
    board_device(&fb, &i8042_class, NULL);
    board_device(&fb, &reset_class, NULL);
    for (unsigned i = 0; i < 10000; i++) {
        outb(&fb, 0x64, 0xfe);
        outb(&fb, 0xcf9, 6);
    }
    CHECK_EQ(fb.ends, 20000);
    CHECK_EQ(fb.why, BOARD_REBOOT);
    for (unsigned long i = test_scale(100000); i; i--) {
        uint64_t r = test_rand(&seed);
        outb(&fb, r & 1 ? 0x64 : 0x60, r >> 8 & 0xff);
        if (r & 2)
            inb(&fb, r & 4 ? 0x64 : 0x60);
    }
    outb(&fb, 0x64, 0xaa); /* still in its right mind */
    CHECK_EQ(inb(&fb, 0x60), 0x55);
    board_break(&fb);
}

/* ---- all of them ---- */

static void make_all(void)
{
    board_make(&fb);
    board_device(&fb, &serial_class, "index=0");
    board_device(&fb, &serial_class, "index=1");
    board_device(&fb, &serial_class, "index=2");
    board_device(&fb, &serial_class, "index=3");
    board_device(&fb, &rtc_class, NULL);
    board_device(&fb, &i8042_class, NULL);
    board_device(&fb, &pm_class, NULL);
    board_device(&fb, &reset_class, NULL);
    board_device(&fb, &pvpanic_class, NULL);
    board_device(&fb, &exit_class, NULL);
    board_device(&fb, &debugexit_class, NULL);
}

static const struct {
    uint16_t first, last;
} places[] = {
    {0x3f0, 0x400},
    {0x2f0, 0x300},
    {0x3e0, 0x3f0},
    {0x2e0, 0x2f0},
    {0x6e,  0x74 },
    {0x5e,  0x68 },
    {0x5f8, 0x618},
    {0xcf4, 0xd00},
    {0x500, 0x50a},
    {0xf0,  0xfc },
};

TEST(S6_every_fixed_port_in_every_width_and_direction)
{
    static const uint32_t values[] = {0, 1, 0x80, 0xff, 0x2400, 0x8000, 0xffffffff};
    make_all();
    for (unsigned p = 0; p < sizeof(places) / sizeof(places[0]); p++)
        for (unsigned port = places[p].first; port <= places[p].last; port++)
            for (unsigned size = 1; size <= 4; size *= 2) {
                port_in(&fb, (uint16_t)port, size);
                for (unsigned v = 0; v < 7; v++) {
                    port_out(&fb, (uint16_t)port, values[v], size);
                    uint64_t read = port_in(&fb, (uint16_t)port, size);
                    CHECK(read <= (size == 4 ? 0xffffffff : (1u << size * 8) - 1));
                    board_pass(&fb, 1000);
                }
            }
    /* A short access to a wide register gives its lanes; a wide one to a narrow register gives ones. */
    devices_reset(&fb.b);
    fb.guest = 3600ull * 1000000000;
    uint32_t timer = (uint32_t)port_in(&fb, PM_TMR_BLK, 4);
    CHECK_EQ(port_in(&fb, PM_TMR_BLK, 2) | port_in(&fb, PM_TMR_BLK + 2, 2) << 16, timer);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(port_in(&fb, PM_TMR_BLK + i, 1), timer >> i * 8 & 0xff);
    CHECK_EQ(port_in(&fb, PM1A_CNT_BLK, 4), 0xffffffff);
    CHECK_EQ(port_in(&fb, PM1A_EVT_BLK, 4), 0xffffffff);
    CHECK_EQ(port_in(&fb, PM1A_EVT_BLK + 1, 2), 0xffff);
    CHECK_EQ(port_in(&fb, 0x60c, 4), 0xffffffff);
    CHECK_EQ(port_in(&fb, PVPANIC_PORT, 4), 0xffffff03); /* 8-bit ports: bytes, the rest is nobody's */
    CHECK_EQ(port_in(&fb, RTC_PORT, 2) & 0xff, 0xff);
    for (unsigned p = 0; p < sizeof(places) / sizeof(places[0]); p++)
        port_storm(&fb, places[p].first, places[p].last, test_scale(3000), p);
    board_break(&fb);
}

TEST(devices_states_and_dumps_of_a_whole_board)
{
    static char buf[65536];
    uint64_t seed = 99;
    make_all();
    for (unsigned p = 0; p < sizeof(places) / sizeof(places[0]); p++)
        port_storm(&fb, places[p].first, places[p].last, 500, p + 100);
    FILE *out = tmpfile();
    for (struct device *d = fb.b.devices; d; d = d->next) {
        size_t n = device_save(d, buf, sizeof(buf));
        CHECK(n <= sizeof(buf));
        const char *sentence = device_load(d, buf, n);
        if (sentence)
            printf("%s: %s\n", d->id, sentence);
        CHECK(!sentence);
        device_dump(d, out);
        for (unsigned long i = n ? test_scale(300) : 0; i;
             i--) { /* whatever a file may hold, then life goes on */
            device_save(d, buf, sizeof(buf));
            buf[test_rand(&seed) % n] = (char)test_rand(&seed);
            (void)device_load(d, buf, n);
            if (!(i & 15))
                board_pass(&fb, 1000000);
        }
    }
    CHECK(ftell(out) > 3000);
    fclose(out);
    for (unsigned p = 0; p < sizeof(places) / sizeof(places[0]); p++)
        port_storm(&fb, places[p].first, places[p].last, 500, p + 200);
    board_break(&fb);
}
