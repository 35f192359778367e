// SPDX-License-Identifier: MIT
/* The CMOS clock: dates, formats, setting, alarms, rates, and that it costs nothing while nobody waits for it. */
#include <time.h>

#include "devices/platform.h"
#include "fake_board.h"

enum {
    SEC,
    SECA,
    MIN,
    MINA,
    HOUR,
    HOURA,
    WDAY,
    MDAY,
    MON,
    YEAR,
    A,
    B,
    C,
    D,
    CENTURY = 0x32
};
#define S 1000000000ull

static struct fake_board fb;
static struct device *rtc;

static void start(const char *options)
{
    board_make(&fb);
    rtc = board_device(&fb, &rtc_class, options);
}

static uint8_t get(unsigned cell)
{
    outb(&fb, 0x70, cell);
    return inb(&fb, 0x71);
}

static void set(unsigned cell, unsigned value)
{
    outb(&fb, 0x70, cell);
    outb(&fb, 0x71, value);
}

static unsigned bcd(uint8_t c)
{
    return (c >> 4) * 10u + (c & 15);
}

/* "2023-11-14 22:13:20 3" as a BCD, 24 hour guest reads it; the last is the weekday, Sunday 1. */
static const char *text(void)
{
    static char buf[64];
    snprintf(buf, sizeof(buf), "%02u%02u-%02u-%02u %02u:%02u:%02u %u", bcd(get(CENTURY)), bcd(get(YEAR)),
             bcd(get(MON)), bcd(get(MDAY)), bcd(get(HOUR)), bcd(get(MIN)), bcd(get(SEC)), get(WDAY));
    return buf;
}

static bool irq8(void)
{
    return fb.irq.level[8];
}

TEST(rtc_tells_the_hosts_time)
{
    start(NULL);
    CHECK_STR(text(), "2023-11-14 22:13:20 3");
    CHECK_EQ(get(A), 0x26);
    CHECK_EQ(get(B), 0x02);
    CHECK_EQ(get(D), 0x80);
    board_pass(&fb, 41 * S);
    CHECK_STR(text(), "2023-11-14 22:14:01 3");
    fb.wall += 3600 * S; /* the host was set: so is the guest's */
    CHECK_STR(text(), "2023-11-14 23:14:01 3");
    fb.wall -= 7200 * S;
    CHECK_STR(text(), "2023-11-14 21:14:01 3");
    board_break(&fb);
}

TEST(rtc_bases)
{
    start("base=monotonic");
    fb.wall += 9999 * S;
    fb.guest += 5 * S;
    CHECK_STR(text(), "2023-11-14 22:13:20 3");
    fb.now += 10 * S;
    CHECK_STR(text(), "2023-11-14 22:13:30 3");
    board_break(&fb);
    start("base=guest");
    fb.wall += 9999 * S;
    fb.now += 10 * S;
    CHECK_STR(text(), "2023-11-14 22:13:20 3");
    fb.guest += 5 * S;
    CHECK_STR(text(), "2023-11-14 22:13:25 3");
    board_break(&fb);
}

/* Against the C library, over leap years and centuries. */
TEST(rtc_dates_agree_with_the_library)
{
    uint64_t seed = 11;
    start(NULL);
    for (unsigned long i = test_scale(3000); i; i--) {
        char want[64];
        time_t t = (time_t)(test_rand(&seed) % 15000000000ull); /* to 2445 */
        if (i < 500)
            t = (time_t)((i * 365 + i / 4) % 40000 * 86400 +
                         (i & 1 ? 86399 : 0)); /* around the ends of years */
        fb.wall = (uint64_t)t * S;
        struct tm *tm = gmtime(&t);
        strftime(want, sizeof(want), "%Y-%m-%d %H:%M:%S ", tm);
        sprintf(want + strlen(want), "%d", tm->tm_wday + 1);
        CHECK_STR(text(), want);
    }
    board_break(&fb);
}

TEST(rtc_binary_and_twelve_hours)
{
    start(NULL);
    set(B, 0x06); /* binary, 24 h */
    CHECK_EQ(get(HOUR), 22);
    CHECK_EQ(get(MIN), 13);
    CHECK_EQ(get(YEAR), 23);
    CHECK_EQ(get(CENTURY), 20);
    set(B, 0x04);
    CHECK_EQ(get(HOUR), 0x80 | 10);
    set(B, 0x00);
    CHECK_EQ(get(HOUR), 0x80 | 0x10);
    static const uint8_t hours[][2] = {
        {0,  0x12},
        {1,  0x01},
        {11, 0x11},
        {12, 0x92},
        {13, 0x81},
        {23, 0x91}
    };
    for (unsigned i = 0; i < 6; i++) {
        set(B, 0x02);
        set(HOUR, hours[i][0] / 10 << 4 | hours[i][0] % 10);
        set(B, 0x00);
        CHECK_EQ(get(HOUR), hours[i][1]);
        set(HOUR, hours[i][1]);
        CHECK_EQ(get(HOUR), hours[i][1]);
        set(B, 0x06);
        CHECK_EQ(get(HOUR), hours[i][0]);
    }
    board_break(&fb);
}

/* As Linux's mc146818_set_time() does it. */
TEST(rtc_is_set)
{
    start(NULL);
    fb.wall += 123456789;
    set(B, get(B) | 0x80);
    set(A, get(A) | 0x60);
    set(YEAR, 0x24);
    set(MON, 0x02);
    set(MDAY, 0x29);
    set(HOUR, 0x23);
    set(MIN, 0x59);
    set(SEC, 0x58);
    set(CENTURY, 0x20);
    board_pass(&fb, 10 * S);
    CHECK_STR(text(), "2024-02-29 23:59:58 3"); /* stands still; the weekday was not set */
    CHECK_EQ(get(A) & 0x80, 0);
    set(B, get(B) & ~0x80u);
    set(A, 0x26);
    CHECK_STR(text(), "2024-02-29 23:59:58 5");
    board_pass(&fb, S / 2 - 1000); /* the first update comes half a second after the divider was let go */
    CHECK_STR(text(), "2024-02-29 23:59:58 5");
    board_pass(&fb, 2000);
    CHECK_STR(text(), "2024-02-29 23:59:59 5");
    board_pass(&fb, S);
    CHECK_STR(text(), "2024-03-01 00:00:00 6");
    set(MIN, 0x30); /* without SET, too */
    CHECK_STR(text(), "2024-03-01 00:30:00 6");
    board_pass(&fb, S);
    CHECK_STR(text(), "2024-03-01 00:30:01 6");
    device_reset(rtc); /* the battery keeps it */
    CHECK_STR(text(), "2024-03-01 00:30:01 6");
    board_break(&fb);
}

TEST(rtc_update_in_progress)
{
    start(NULL);
    CHECK_EQ(get(A) & 0x80, 0);
    board_pass(&fb, S - 245000);
    CHECK_EQ(get(A) & 0x80, 0);
    board_pass(&fb, 2000);
    CHECK_EQ(get(A) & 0x80, 0x80);
    board_pass(&fb, 243000);
    CHECK_EQ(get(A) & 0x80, 0);
    CHECK_EQ(get(SEC), 0x21);
    board_break(&fb);
}

TEST(rtc_idle_wakes_nobody)
{
    start(NULL);
    get(SEC);
    CHECK_EQ(board_run(&fb, 3600 * S), 0);
    CHECK_EQ(get(C), 0x70 & ~0x20); /* PF and UF, worked out now; no alarm at 00:00:00 within the hour… */
    CHECK_EQ(get(C), 0);
    board_break(&fb);
}

TEST(rtc_update_interrupt)
{
    start(NULL);
    set(B, 0x12);
    CHECK_EQ(board_run(&fb, S - 1), 0);
    CHECK(!irq8());
    board_run(&fb, 1);
    CHECK(irq8());
    CHECK_EQ(board_run(&fb, 3600 * S), 0); /* not read: no more wakes */
    CHECK_EQ(get(C) & 0x90, 0x90);
    CHECK(!irq8());
    CHECK_EQ(get(C), 0);
    unsigned n = 0;
    for (unsigned i = 0; i < 10; i++) {
        board_run(&fb, S);
        n += irq8();
        get(C);
    }
    CHECK_EQ(n, 10);
    set(B, 0x92); /* SET clears UIE */
    CHECK_EQ(get(B), 0x82);
    board_break(&fb);
}

TEST(rtc_periodic_rates)
{
    static const unsigned hz[16] = {0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2};
    for (unsigned rs = 0; rs < 16; rs++) {
        unsigned n = 0;
        start(NULL);
        set(A, 0x20 | rs);
        set(B, 0x42);
        get(C);
        for (uint64_t end = fb.now + S; fb.now < end;) { /* a guest that answers at once */
            uint64_t next = loop_next(fb.b.loop);
            if (next > end)
                break;
            board_pass(&fb, next > fb.now ? next - fb.now : 0);
            if (irq8()) {
                CHECK_EQ(get(C) & 0xc0, 0xc0);
                n++;
            }
        }
        CHECK(n + 1 >= hz[rs] && n <= hz[rs] + 1);
        board_break(&fb);
    }
}

TEST(rtc_alarm)
{
    start(NULL);
    set(SECA, 0x05);
    set(MINA, 0x15);
    set(HOURA, 0x22);
    set(B, 0x22);
    CHECK_EQ(board_run(&fb, 104 * S), 0); /* 22:15:04 */
    CHECK(!irq8());
    CHECK_EQ(board_run(&fb, S), 1);
    CHECK(irq8());
    CHECK_EQ(get(C) & 0xb0, 0xb0);
    CHECK(!irq8());
    CHECK_EQ(board_run(&fb, 86399 * S), 0);
    CHECK_EQ(board_run(&fb, S), 1); /* each day */
    CHECK(irq8());
    get(C);
    set(HOURA, 0xc0); /* each hour */
    CHECK_EQ(board_run(&fb, 3599 * S), 0);
    CHECK_EQ(board_run(&fb, S), 1);
    get(C);
    set(MINA, 0xff);
    CHECK_EQ(board_run(&fb, 60 * S), 1);
    get(C);
    set(SECA, 0xff);
    CHECK_EQ(board_run(&fb, 1 * S), 1);
    get(C);
    set(SECA, 0x7a); /* no such second */
    CHECK_EQ(board_run(&fb, 90000 * S), 0);
    CHECK(!irq8());
    set(MINA, 0x15);
    set(SECA, 0x05);
    set(HOURA, 0x24);
    CHECK_EQ(board_run(&fb, 90000 * S), 0);
    board_break(&fb);
}

TEST(rtc_alarm_agrees_with_counting)
{
    uint64_t seed = 3;
    start(NULL);
    for (unsigned long round = test_scale(200); round; round--) {
        uint64_t r = test_rand(&seed);
        static const uint8_t any[3] = {0xc0, 0xff, 0xd5};
        unsigned s = r % 60, m = (r >> 8) % 60, h = (r >> 16) % 24, kind = r >> 24 & 7;
        set(B, 0x06);
        set(SECA, kind & 1 ? any[r >> 32 & 1] : s);
        set(MINA, kind & 2 ? any[r >> 33 & 1] : m);
        set(HOURA, kind & 4 ? any[2] : h);
        get(C);
        fb.wall = (1700000000ull + (r >> 35) % 86400) * S;
        get(SEC);
        get(C);
        set(B, 0x26);
        uint64_t t = fb.wall / S % 86400, want = 0;
        for (uint64_t k = 1; k <= 86400 && !want; k++)
            if ((kind & 1 || (t + k) % 60 == s) && (kind & 2 || (t + k) / 60 % 60 == m) &&
                (kind & 4 || (t + k) / 3600 % 24 == h))
                want = k;
        CHECK_EQ((loop_next(fb.b.loop) - fb.now) / S, want);
        board_run(&fb, want * S - 1);
        CHECK(!irq8());
        board_run(&fb, 1);
        CHECK(irq8());
    }
    board_break(&fb);
}

TEST(rtc_late_host_sets_the_flags_of_what_it_missed)
{
    start(NULL);
    set(SECA, 0x00);
    set(MINA, 0x14);
    set(HOURA, 0x22);
    get(C);
    fb.now += 300 * S, fb.wall += 300 * S;
    CHECK_EQ(get(C), 0x70); /* periodic, alarm, update; none enabled, so no IRQF */
    CHECK(!irq8());
    board_break(&fb);
}

/* The guest asks for what it does not take, and holds SET for ever; and it is paused with a fast rate on. */
TEST(S5_rtc_fast_rate_ignored_and_set_held_wake_nobody)
{
    start(NULL);
    set(A, 0x23);
    set(B, 0x72);
    CHECK(board_run(&fb, 10 * S) <= 1);
    CHECK(irq8());
    set(B, 0xf2);
    for (int i = 0; i < 3; i++)
        get(C); /* the periodic flag goes on while SET is held, one at a time */
    CHECK(board_run(&fb, 10 * S) <= 1);
    get(C);
    set(B, 0xb2);
    get(C);
    CHECK_EQ(board_run(&fb, 100000 * S), 0);
    CHECK_EQ(get(C), 0x40);
    board_break(&fb);

    start("base=guest");
    set(A, 0x23);
    set(B, 0x42);
    get(C);
    unsigned wakes = 0;
    for (uint64_t end = fb.now + S; loop_next(fb.b.loop) <= end;
         wakes++) { /* paused: only the host's clock goes on */
        uint64_t next = loop_next(fb.b.loop);
        fb.now = next > fb.now ? next : fb.now;
        while (loop_step(fb.b.loop))
            ;
    }
    CHECK(wakes > 0 && wakes <= 25);
    CHECK(!irq8());
    board_run(&fb, 100000000);
    CHECK(irq8());
    board_break(&fb);
}

TEST(S5_rtc_index_beyond_the_cells_and_impossible_dates)
{
    start(NULL);
    for (unsigned i = 0x80; i <= 0xff; i++) {
        set(i, 0x33);
        get(i);
    }
    for (unsigned i = 0x40; i < 0x80; i++) { /* bit 7 of the index is another wire: NMI */
        set(i, i);
        CHECK_EQ(get(i | 0x80), i);
    }
    CHECK_EQ(inb(&fb, 0x70), 0xff);
    static const uint8_t bad[] = {0xff, 0x00, 0x7f, 0x99, 0xaa, 0x80, 0x31, 0x13, 0x60};
    for (unsigned b = 0; b < sizeof(bad); b++)
        for (unsigned format = 0; format < 8; format += 2) {
            set(B, 0x80 | format);
            for (unsigned cell = SEC; cell <= YEAR; cell++)
                set(cell, bad[b]);
            set(CENTURY, bad[b]);
            set(A, 0x26);
            set(B, 0x70 | format); /* everything on, and go */
            for (unsigned cell = 0; cell < 0x80; cell++)
                get(cell);
            board_run(&fb, 3 * S / 1024);
            set(B, format);
            get(C);
        }
    fb.wall = 0; /* hosts may be odd as well */
    get(SEC);
    fb.wall = UINT64_MAX;
    get(SEC);
    board_run(&fb, 1000);
    port_storm(&fb, 0x70, 0x71, test_scale(50000), 8);
    board_break(&fb);
}

TEST(rtc_state_goes_round)
{
    static char buf[4096];
    start("base=guest");
    set(HOUR, 0x05);
    set(0x40, 0x99);
    set(SECA, 0x30);
    set(MINA, 0xff);
    set(HOURA, 0xff);
    set(B, 0x22);
    size_t n = device_save(rtc, buf, sizeof(buf));
    set(HOUR, 0x11);
    set(0x40, 0);
    set(B, 0x02);
    get(C);
    CHECK(!device_load(rtc, buf, n));
    CHECK_STR(text(), "2023-11-14 05:13:20 3");
    CHECK_EQ(get(0x40), 0x99);
    CHECK_EQ(board_run(&fb, 10 * S), 1); /* the alarm is armed again */
    CHECK(irq8());
    board_break(&fb);
}
