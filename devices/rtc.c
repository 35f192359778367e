/* SPDX-License-Identifier: MIT
 *
 * The CMOS clock (Motorola MC146818A data sheet; the century at 0x32 is the PC's custom). No second ticks here: the cells
 * are brought up to date from the base clock when the guest looks, the flags of register C are worked out from what has
 * passed since, and a timer is armed for the next event only while its interrupt is enabled and not yet pending.
 *
 * The clock's time is whole seconds: (base + phase) / 1 s + shift. The base is the host's wall clock (it follows the host's
 * corrections), the same at start-up and then monotonic time, or then guest time, which stands still while the guest is
 * paused. Setting the clock changes shift; letting the divider go starts a second half over (phase), as in the data sheet.
 */
#include "devices/platform.h"

#include "kvm/host/opts.h"
#include "kvm/irq.h"
#include "mem/device.h"

enum {
    SECONDS,
    SECONDS_ALARM,
    MINUTES,
    MINUTES_ALARM,
    HOURS,
    HOURS_ALARM,
    WEEKDAY,
    DAY,
    MONTH,
    YEAR,
    REG_A,
    REG_B,
    REG_C,
    REG_D,
    CELLS = 128,

    A_UIP = 0x80,
    A_DV = 0x70,
    A_DV_RUN = 0x20,
    A_RS = 0x0f,
    B_SET = 0x80,
    B_PIE = 0x40,
    B_AIE = 0x20,
    B_UIE = 0x10,
    B_SQWE = 0x08,
    B_BINARY = 0x04,
    B_24H = 0x02,
    C_IRQF = 0x80,
    C_PF = 0x40,
    C_AF = 0x20,
    C_UF = 0x10,
    D_VRT = 0x80,

    ALARM_ANY = 0xc0, /* both upper bits: matches everything */
    HOUR_PM = 0x80,

    NS = 1000000000,
    UIP_NS = 244000,     /* UIP is up this long before an update */
    STILL_NS = 50000000, /* between looks at a clock that stands still */
};

enum rtc_base {
    BASE_HOST,
    BASE_MONOTONIC,
    BASE_GUEST
};

struct rtc {
    struct device dev;
    int base; /* option */
    struct irq_line irq;
    struct device_timer timer;
    uint64_t start_wall, start_loop, start_guest;

    uint8_t index;
    uint8_t cells[CELLS];
    uint64_t phase; /* ns, below 1 s */
    uint64_t shift; /* seconds, modulo 2^64 */
    uint64_t seen;  /* base + phase, up to which flags are worked out */
};

static struct rtc *to_rtc(struct device *dev)
{
    return (struct rtc *)dev;
}

/* ---- time ---- */

static uint64_t rtc_ns(const struct rtc *r)
{
    const struct board *board = r->dev.board;

    switch (r->base) {
    case BASE_MONOTONIC:
        return r->start_wall + (loop_now(board->loop) - r->start_loop) + r->phase;
    case BASE_GUEST:
        return r->start_wall + (board_guest_time(board) - r->start_guest) + r->phase;
    default:
        return board_wall(board) + r->phase;
    }
}

static bool frozen(const struct rtc *r)
{
    return (r->cells[REG_B] & B_SET) || (r->cells[REG_A] & A_DV) != A_DV_RUN;
}

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar and back; years count from March. */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned yoe = (unsigned)(year - era * 400);
    unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + (int64_t)(yoe * 365 + yoe / 4 - yoe / 100 + doy) - 719468;
}

static void date_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned doe = (unsigned)(days - era * 146097);
    unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    unsigned mp = (5 * doy + 2) / 153;
    *day = doy - (153 * mp + 2) / 5 + 1;
    *month = mp < 10 ? mp + 3 : mp - 9;
    *year = (unsigned)((int64_t)yoe + era * 400 + (*month <= 2));
}

static uint8_t encode(const struct rtc *r, unsigned v)
{
    return (uint8_t)(r->cells[REG_B] & B_BINARY ? v : v / 10 << 4 | v % 10);
}

static unsigned decode(const struct rtc *r, uint8_t cell)
{
    return r->cells[REG_B] & B_BINARY ? cell : (cell >> 4) * 10u + (cell & 15);
}

static uint8_t encode_hour(const struct rtc *r, unsigned h)
{
    if (r->cells[REG_B] & B_24H)
        return encode(r, h);
    return encode(r, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct rtc *r, uint8_t cell)
{
    if (r->cells[REG_B] & B_24H)
        return decode(r, cell);
    return decode(r, cell & 0x7f) % 12 + (cell & HOUR_PM ? 12 : 0);
}

static unsigned clamp(unsigned v, unsigned min, unsigned max)
{
    return v < min ? min : v > max ? max : v;
}

/* The date in the cells, whatever a guest has put there, as seconds since 1970. */
static uint64_t cells_time(const struct rtc *r)
{
    unsigned century = clamp(decode(r, r->cells[RTC_CENTURY]), 0, 99);
    unsigned year = century * 100 + clamp(decode(r, r->cells[YEAR]), 0, 99);
    unsigned month = clamp(decode(r, r->cells[MONTH]), 1, 12), day = clamp(decode(r, r->cells[DAY]), 1, 31);

    return (uint64_t)days_from_date(year, month, day) * 86400 +
           clamp(decode_hour(r, r->cells[HOURS]), 0, 23) * 3600 +
           clamp(decode(r, r->cells[MINUTES]), 0, 59) * 60 + clamp(decode(r, r->cells[SECONDS]), 0, 59);
}

static void cells_set_time(struct rtc *r, uint64_t seconds)
{
    unsigned year, month, day;
    int64_t days = (int64_t)seconds / 86400 - ((int64_t)seconds % 86400 < 0); /* before 1970, too */
    unsigned of_day = (unsigned)((int64_t)seconds - days * 86400);

    date_from_days(days, &year, &month, &day);
    r->cells[SECONDS] = encode(r, of_day % 60);
    r->cells[MINUTES] = encode(r, of_day / 60 % 60);
    r->cells[HOURS] = encode_hour(r, of_day / 3600);
    r->cells[WEEKDAY] =
        encode(r, (unsigned)(((days % 7) + 7 + 4) % 7) + 1); /* 1970-01-01 was a Thursday; Sunday is 1 */
    r->cells[DAY] = encode(r, day);
    r->cells[MONTH] = encode(r, month);
    r->cells[YEAR] = encode(r, year % 100);
    r->cells[RTC_CENTURY] = encode(r, year / 100 % 100);
}

/* ---- alarm, periodic and update events ---- */

/* -1: any, -2: never (no such time) */
static int alarm_part(const struct rtc *r, unsigned cell, unsigned limit)
{
    uint8_t c = r->cells[cell];
    unsigned v = cell == HOURS_ALARM ? decode_hour(r, c) : decode(r, c);

    if ((c & ALARM_ANY) == ALARM_ANY)
        return -1;
    return v < limit ? (int)v : -2;
}

/* Seconds from `of_day` to the next alarm, 1 to 86400; 0: never. */
static unsigned alarm_in(const struct rtc *r, unsigned of_day)
{
    int h = alarm_part(r, HOURS_ALARM, 24), m = alarm_part(r, MINUTES_ALARM, 60),
        s = alarm_part(r, SECONDS_ALARM, 60);

    if (h == -2 || m == -2 || s == -2)
        return 0;
    unsigned t = of_day + 1, end = of_day + 86400;
    while (t <= end) { /* at most 24 + 60 + 60 steps: a unit that does not match is left as a whole */
        if (h >= 0 && t / 3600 % 24 != (unsigned)h)
            t = (t / 3600 + 1) * 3600;
        else if (m >= 0 && t / 60 % 60 != (unsigned)m)
            t = (t / 60 + 1) * 60;
        else if (s >= 0 && t % 60 != (unsigned)s)
            t++;
        else
            return t - of_day;
    }
    return 0;
}

/* ns between periodic interrupts; 0: off */
static uint64_t period(const struct rtc *r)
{
    unsigned rs = r->cells[REG_A] & A_RS;

    if (!rs || (r->cells[REG_A] & A_DV) != A_DV_RUN)
        return 0;
    if (rs <= 2)
        rs += 7;
    return ((uint64_t)NS << (rs - 1)) / 32768;
}

/* Whole second of the day at which flags were last looked at. */
static unsigned second_of_day(const struct rtc *r, uint64_t ns)
{
    int64_t seconds = (int64_t)(ns / NS + r->shift);
    return (unsigned)((seconds % 86400 + 86400) % 86400);
}

/* Cells, flags and interrupt line as of now. Returns the time until what is next, UINT64_MAX: nothing that counts. */
static uint64_t rtc_update(struct rtc *r)
{
    uint64_t now = rtc_ns(r), p = period(r), next = UINT64_MAX;
    uint8_t enabled = r->cells[REG_B] & (B_PIE | B_AIE | B_UIE), flags = r->cells[REG_C];

    if (now < r->seen) /* the host's clock was set back */
        r->seen = now;
    if (p && now / p != r->seen / p)
        flags |= C_PF;
    if (!frozen(r) && now / NS != r->seen / NS) {
        unsigned alarm = alarm_in(r, second_of_day(r, r->seen));
        flags |= C_UF;
        if (alarm && alarm <= now / NS - r->seen / NS)
            flags |= C_AF;
    }
    r->seen = now;
    if (!frozen(r))
        cells_set_time(r, now / NS + r->shift);
    r->cells[REG_A] &= (uint8_t)~A_UIP;
    if (!frozen(r) && now % NS >= NS - UIP_NS)
        r->cells[REG_A] |= A_UIP;

    flags &= (uint8_t)~C_IRQF;
    if (flags & enabled) /* PF, AF and UF are in the places of PIE, AIE and UIE */
        flags |= C_IRQF;
    r->cells[REG_C] = flags;
    if ((flags & C_IRQF) != (r->irq.level ? C_IRQF : 0))
        irq_line_set(&r->irq, flags & C_IRQF);

    enabled &= (uint8_t)~flags;
    if (!(flags & C_IRQF) && enabled) { /* while one is pending, nothing is gained by another */
        if ((enabled & B_PIE) && p)
            next = (now / p + 1) * p;
        if (!frozen(r) && (enabled & B_UIE) && (now / NS + 1) * NS < next)
            next = (now / NS + 1) * NS;
        if (!frozen(r) && (enabled & B_AIE)) {
            unsigned alarm = alarm_in(r, second_of_day(r, now));
            if (alarm && (now / NS + alarm) * NS < next)
                next = (now / NS + alarm) * NS;
        }
    }
    return next != UINT64_MAX ? next - now : UINT64_MAX;
}

static void rtc_arm(struct rtc *r, uint64_t wait)
{
    if (wait != UINT64_MAX)
        device_timer_set(&r->timer, loop_now(r->dev.board->loop) + wait);
    else
        device_timer_cancel(&r->timer);
}

static void rtc_sync(struct rtc *r)
{
    rtc_arm(r, rtc_update(r));
}

/* Guest time stands still while the guest is paused: then what is next never comes nearer, and nobody should be woken each
 * time that it would have been due. */
static void timer_due(struct device *dev)
{
    struct rtc *r = to_rtc(dev);
    bool still = rtc_ns(r) == r->seen;
    uint64_t wait = rtc_update(r);

    rtc_arm(r, still && wait < STILL_NS ? STILL_NS : wait);
}

/* ---- the two ports ---- */

static uint64_t data_read(struct device *dev, unsigned index)
{
    struct rtc *r = to_rtc(dev);
    (void)index;

    rtc_sync(r);
    uint8_t v = (uint8_t)regs_read(device_map(dev, 1), r->index & 0x7f, 1);
    if ((r->index & 0x7f) == REG_C)
        rtc_sync(r); /* reading has cleared it */
    return v;
}

static void data_write(struct device *dev, unsigned index, uint64_t value)
{
    struct rtc *r = to_rtc(dev);
    unsigned cell = r->index & 0x7f;
    bool was_frozen = frozen(r), held = (r->cells[REG_A] & 0x60) == 0x60;
    (void)index;

    rtc_sync(r);
    regs_write(device_map(dev, 1), cell, value, 1);
    if (cell == REG_B && (value & B_SET))
        r->cells[REG_B] &= (uint8_t)~B_UIE; /* SET clears it */
    bool released = held && (r->cells[REG_A] & A_DV) == A_DV_RUN;
    if (released) { /* out of divider reset, the first update comes half a second later */
        uint64_t at = (rtc_ns(r) - r->phase) % NS;
        r->phase = (NS + NS / 2 - at) % NS;
    }
    bool time = cell == SECONDS || cell == MINUTES || cell == HOURS || (cell >= DAY && cell <= YEAR) ||
                cell == RTC_CENTURY;
    if (!frozen(r) && (was_frozen || time))
        r->shift = cells_time(r) - rtc_ns(r) / NS;
    if (released || was_frozen != frozen(r))
        r->seen = rtc_ns(r);
    rtc_sync(r);
}

/* clang-format off */
static const struct reg_bits a_bits[] = {{"RS", 0, 4}, {"DV", 4, 3}, {"UIP", 7, 1}, {0}};
static const struct reg_bits b_bits[] = {
    {"DSE", 0, 1}, {"24H", 1, 1}, {"DM", 2, 1}, {"SQWE", 3, 1}, {"UIE", 4, 1}, {"AIE", 5, 1}, {"PIE", 6, 1},
    {"SET", 7, 1}, {0}};
static const struct reg_bits c_bits[] = {{"UF", 4, 1}, {"AF", 5, 1}, {"PF", 6, 1}, {"IRQF", 7, 1}, {0}};
static const struct reg_bits d_bits[] = {{"VRT", 7, 1}, {0}};

static const struct reg port_regs[] = {
    {"INDEX", 0, 1, .flags = REG_WO, .writable = 0xff, REG_FIELD(struct rtc, index)},
    {"DATA", 1, 1, .read = data_read, .write = data_write},
    {0},
};
/* Kept by the battery: no reset but that of rtc_reset(). */
#define CELL(name_, cell_, ...)                                                                              \
    {name_, cell_, 1, .flags = REG_KEEP, .field = offsetof(struct rtc, cells) + (cell_), __VA_ARGS__}
static const struct reg cell_regs[] = {
    CELL("SECONDS", SECONDS, .writable = 0xff),
    CELL("SECONDS_ALARM", SECONDS_ALARM, .writable = 0xff),
    CELL("MINUTES", MINUTES, .writable = 0xff),
    CELL("MINUTES_ALARM", MINUTES_ALARM, .writable = 0xff),
    CELL("HOURS", HOURS, .writable = 0xff),
    CELL("HOURS_ALARM", HOURS_ALARM, .writable = 0xff),
    CELL("WEEKDAY", WEEKDAY, .writable = 0xff),
    CELL("DAY", DAY, .writable = 0xff),
    CELL("MONTH", MONTH, .writable = 0xff),
    CELL("YEAR", YEAR, .writable = 0xff),
    CELL("A", REG_A, .reset = A_DV_RUN | 6, .writable = 0x7f, .bits = a_bits),
    CELL("B", REG_B, .reset = B_24H, .writable = 0xff, .bits = b_bits),
    CELL("C", REG_C, .clear_on_read = 0xff, .bits = c_bits),
    CELL("D", REG_D, .reset = D_VRT, .bits = d_bits),
    CELL("NVRAM", 14, .count = RTC_CENTURY - 14, .writable = 0xff),
    CELL("CENTURY", RTC_CENTURY, .writable = 0xff),
    CELL("NVRAM2", RTC_CENTURY + 1, .count = CELLS - RTC_CENTURY - 1, .writable = 0xff),
    {0},
};
/* clang-format on */
static const struct reg_bank port_bank = {.name = "ports",
                                          .size = RTC_LEN,
                                          .regs = port_regs,
                                          .hole = UINT64_MAX,
                                          .region_flags = REGION_SPLIT,
                                          .region_sizes = 1};
static const struct reg_bank cell_bank = {.name = "cmos", .size = CELLS, .regs = cell_regs}; /* not mapped */

/* ---- class ---- */

static const char *rtc_init(struct device *dev, struct board *board)
{
    struct rtc *r = to_rtc(dev);

    r->start_wall = board_wall(board);
    r->start_loop = loop_now(board->loop);
    r->start_guest = board_guest_time(board);
    irq_line_init(&r->irq, board->irqs, RTC_GSI, dev->id);
    device_timer_init(dev, &r->timer, timer_due);
    device_map_ports(dev, 0, RTC_PORT);
    return NULL;
}

static void rtc_reset(struct device *dev)
{
    struct rtc *r = to_rtc(dev);

    r->cells[REG_B] &= (uint8_t) ~(B_PIE | B_AIE | B_UIE | B_SQWE);
    r->cells[REG_C] = 0;
    r->seen = rtc_ns(r);
    rtc_sync(r);
}

static const char *rtc_loaded(struct device *dev)
{
    struct rtc *r = to_rtc(dev);

    if (r->phase >= NS)
        return "saved state of the clock has a phase of more than a second";
    r->cells[REG_D] = D_VRT;
    rtc_sync(r);
    return NULL;
}

static const struct opt_word base_words[] = {
    {"host",      BASE_HOST, NULL},
    {"monotonic",       BASE_MONOTONIC, NULL},
    {"guest", BASE_GUEST, NULL},
    {0      }
};
static const struct opt rtc_options[] = {
    OPT_ENUM(struct rtc, base, "base", 0, base_words,
             "what drives it: the host's wall clock, monotonic time, or time while not paused",
             .dflt = "host"),
    OPT_END};
static const struct state_field rtc_state[] = {
    STATE(struct rtc, phase),
    STATE(struct rtc, shift),
    STATE(struct rtc, seen),
    {0},
};

const struct device_class rtc_class = {
    .name = "rtc",
    .help = "CMOS clock; in every machine, named only to set its options",
    .size = sizeof(struct rtc),
    .options = rtc_options,
    .banks = (const struct reg_bank *const[]){&port_bank, &cell_bank, NULL},
    .state = rtc_state,
    .single = true,
    .init = rtc_init,
    .reset = rtc_reset,
    .loaded = rtc_loaded,
};
