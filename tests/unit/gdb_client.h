/* SPDX-License-Identifier: MIT
 *
 * A client of the remote serial protocol, and a machine of two CPUs and 64 KiB of RAM that are mapped twice, for the stub's
 * unit tests: start_talking(), then SAYS("packet", "answer") and MEETS(event, "stop").
 */
#ifndef TESTS_UNIT_GDB_CLIENT_H
#define TESTS_UNIT_GDB_CLIENT_H

#include "test.h"

#include "guest/gdb.h"

enum {
    CPUS = 2,
    RAM = 65536,
    INT3 = 0xcc,
};
#define HIGH UINT64_C(0xffffffff80000000) /* RAM is here too */
#define HOLE UINT64_C(0x8000)             /* but not in the low map */

static struct fake {
    uint8_t ram[RAM];
    struct vcpu_regs regs[CPUS];
    struct vcpu_debug armed[CPUS];
    bool held[CPUS], stopped, killed, refuse_arm;
    unsigned stops, resumes, injected[CPUS];
    size_t answer; /* bytes that monitor says */
    char line[128];
} f;
static struct gdb *gdb;
static char reply[1 << 20]; /* all that came since the last send */
static size_t reply_n;

static unsigned t_cpus(void *ctx)
{
    (void)ctx;
    return CPUS;
}
static void t_stop(void *ctx)
{
    (void)ctx;
    f.stops++;
    f.stopped = true;
}
static void t_resume(void *ctx)
{
    (void)ctx;
    f.resumes++;
    f.stopped = false;
}
static void t_hold(void *ctx, unsigned cpu, bool on)
{
    (void)ctx;
    f.held[cpu] = on;
}
static bool t_regs_get(void *ctx, unsigned cpu, struct vcpu_regs *regs)
{
    (void)ctx;
    *regs = f.regs[cpu];
    return true;
}
static bool t_regs_set(void *ctx, unsigned cpu, const struct vcpu_regs *regs)
{
    (void)ctx;
    if (regs->cr0 >> 32)
        return false;
    f.regs[cpu] = *regs;
    return true;
}
static bool t_translate(void *ctx, unsigned cpu, uint64_t va, uint64_t *gpa)
{
    (void)ctx, (void)cpu;
    *gpa = va >= HIGH ? va - HIGH : va;
    return va >= HIGH ? va - HIGH < RAM : va < 0x100000 && (va & ~UINT64_C(0xfff)) != HOLE;
}
static bool t_read(void *ctx, uint64_t gpa, void *data, size_t n)
{
    (void)ctx;
    if (gpa >= RAM || n > RAM - gpa)
        return false; /* a device's registers: not to be looked at */
    memcpy(data, f.ram + gpa, n);
    return true;
}
static bool t_write(void *ctx, uint64_t gpa, const void *data, size_t n)
{
    (void)ctx;
    if (gpa >= RAM || n > RAM - gpa)
        return false;
    memcpy(f.ram + gpa, data, n);
    return true;
}
static bool t_arm(void *ctx, unsigned cpu, const struct vcpu_debug *debug)
{
    (void)ctx;
    if (f.refuse_arm)
        return false;
    f.armed[cpu] = *debug;
    return true;
}
static bool t_inject(void *ctx, unsigned cpu)
{
    (void)ctx;
    f.injected[cpu]++;
    return true;
}
static const char *t_state(void *ctx, unsigned cpu)
{
    (void)ctx;
    return cpu ? "halted" : "running";
}
static const char *t_monitor(void *ctx, char *line, FILE *out)
{
    (void)ctx;
    snprintf(f.line, sizeof f.line, "%s", line);
    for (size_t i = 0; i < f.answer; i++)
        fputc('a' + (int)(i % 26), out);
    return f.answer ? NULL : "no such thing";
}
static void t_kill(void *ctx)
{
    (void)ctx;
    f.killed = true;
}
static const struct gdb_target target = {
    t_cpus, t_stop,  t_resume, t_hold,   t_regs_get, t_regs_set, t_translate,
    t_read, t_write, t_arm,    t_inject, t_state,    t_monitor,  t_kill,
};

/* --- the client */

static void take(void)
{
    size_t n;
    const char *data;
    while (data = gdb_output(gdb, &n), n) {
        size_t step = n > 777 ? 777 : n; /* a socket takes what it likes */
        if (reply_n + step < sizeof reply) {
            memcpy(reply + reply_n, data, step);
            reply_n += step;
        }
        gdb_sent(gdb, step);
    }
    reply[reply_n] = 0;
}

static bool feed(const void *data, size_t n)
{
    bool ok = true;
    for (size_t done = 0; done < n && ok;) {
        size_t took = gdb_input(gdb, (const char *)data + done, n - done, &ok);
        take();
        if (!took && gdb_done(gdb))
            break;
        done += took;
    }
    take();
    return ok;
}

static bool send_bytes(const void *data, size_t n)
{
    char packet[2 * GDB_PACKET + 64];
    uint8_t sum = 0;
    size_t at = 1;
    packet[0] = '$';
    for (size_t i = 0; i < n; i++) {
        char c = ((const char *)data)[i];
        if (c == '$' || c == '#' || c == '}') {
            packet[at++] = '}';
            c ^= 0x20;
        }
        packet[at++] = c;
    }
    for (size_t i = 1; i < at; i++)
        sum = (uint8_t)(sum + (uint8_t)packet[i]);
    at += (size_t)sprintf(packet + at, "#%02x", sum);
    reply_n = 0;
    return feed(packet, at);
}

/* The answer's contents; checksum and form are checked. "" also where there was none: see none(). */
static const char *ask(const char *text)
{
    static char contents[sizeof reply];
    size_t n = 0;
    uint8_t sum = 0;
    contents[0] = 0;
    if (!send_bytes(text, strlen(text)))
        return "(hung up)";
    char *p = reply;
    while (*p == '+')
        p++;
    if (!*p)
        return "(none)";
    if (*p++ != '$')
        return "(no packet)";
    for (; *p != '#'; p++) {
        sum = (uint8_t)(sum + (uint8_t)*p);
        if (*p == '}') {
            sum = (uint8_t)(sum + (uint8_t) * ++p);
            contents[n++] = (char)(*p ^ 0x20);
        } else {
            contents[n++] = *p;
        }
    }
    contents[n] = 0;
    return strtoul(p + 1, NULL, 16) == sum ? contents : "(bad checksum)";
}
#define SAYS(text_, want_) CHECK_STR(ask(text_), want_)

static void start(bool wide)
{
    gdb_free(gdb);
    memset(&f, 0, sizeof f);
    for (unsigned i = 0; i < RAM; i++)
        f.ram[i] = (uint8_t)(i * 7 + i / 256);
    for (unsigned i = 0; i < CPUS; i++)
        f.regs[i] =
            (struct vcpu_regs){.rip = 0x1000 * (i + 1), .cs = 0x10, .ss = 0x18, .cr0 = 0x11, .mxcsr = 0x1f80};
    gdb = gdb_new(&target, &f, wide);
    CHECK(gdb);
    gdb_open(gdb);
    reply_n = 0;
}

static void start_talking(bool wide)
{
    start(wide);
    CHECK(strstr(ask("qSupported:swbreak+;hwbreak+;vContSupported+"), "PacketSize=4000"));
    SAYS("QStartNoAckMode", "OK");
    CHECK(f.stopped);
}

/* A vCPU meets something; what gdb is told. */
static const char *event(unsigned cpu, enum vcpu_debug_what what, unsigned slot, uint64_t pc)
{
    const struct vcpu_debug_event e = {what, slot, pc};
    gdb_event(gdb, cpu, &e);
    reply_n = 0;
    gdb_events(gdb);
    take();
    if (reply_n > 4)
        reply[reply_n - 3] = 0; /* the checksum */
    return reply_n ? reply + 1 : "(none)";
}
#define MEETS(cpu_, what_, slot_, pc_, want_) CHECK_STR(event(cpu_, what_, slot_, pc_), want_)

#endif
