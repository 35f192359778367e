// SPDX-License-Identifier: MIT
/* A session with gdb, the commands: see include/guest/gdb.h. It is in one of two states. Stopped: gdb asks, and each packet is
 * answered at once. Running: gdb waits for a stop, and all it may send is Ctrl-C. */
#include "gdb_priv.h"

#include <stdlib.h>
#include <string.h>

void gdb_reply(struct gdb *gdb, const char *text)
{
    gdb_out_begin(&gdb->out);
    gdb_out_text(&gdb->out, text);
    gdb_out_end(&gdb->out);
}

/* --- commands: the packet's text behind its first letter. What they answer goes to gdb->out. */

/* Reads the registers of the selected thread; false: has answered. */
static bool regs_of(struct gdb *gdb, struct vcpu_regs *regs)
{
    if (gdb->target->regs_get(gdb->ctx, gdb->cpu, regs))
        return true;
    gdb_reply(gdb, "E05");
    return false;
}

static void set_regs(struct gdb *gdb, const struct vcpu_regs *regs)
{
    gdb_reply(gdb, gdb->target->regs_set(gdb->ctx, gdb->cpu, regs) ? "OK" : "E16");
}

static void cmd_regs_get(struct gdb *gdb, const char *text, size_t len)
{
    struct vcpu_regs regs;
    uint8_t bytes[16];
    (void)text, (void)len;
    if (!regs_of(gdb, &regs))
        return;
    gdb_out_begin(&gdb->out);
    for (unsigned i = 0; i < gdb_arch_count(gdb->arch); i++)
        gdb_out_hex(&gdb->out, bytes, gdb_reg_get(gdb->arch, i, &regs, bytes));
    gdb_out_end(&gdb->out);
}

static void cmd_regs_set(struct gdb *gdb, const char *text, size_t len)
{
    struct vcpu_regs regs;
    uint8_t bytes[GDB_PACKET / 2], old[16];
    size_t n, at = 0;
    if (!gdb_unhex(text, len, bytes, sizeof bytes, &n)) {
        gdb_reply(gdb, "E16");
        return;
    }
    if (!regs_of(gdb, &regs))
        return;
    for (unsigned i = 0; i < gdb_arch_count(gdb->arch); i++) {
        unsigned size = gdb_reg_get(gdb->arch, i, &regs, old);
        if (n - at < size)
            break; /* gdb may leave out the last ones */
        if (!gdb_reg_fixed(gdb->arch, i))
            gdb_reg_set(gdb->arch, i, &regs, bytes + at);
        at += size;
    }
    set_regs(gdb, &regs);
}

static void cmd_reg_get(struct gdb *gdb, const char *text, size_t len)
{
    struct vcpu_regs regs;
    uint8_t bytes[16];
    uint64_t number;
    (void)len;
    if (!gdb_number(&text, &number) || *text || number >= gdb_arch_count(gdb->arch)) {
        gdb_reply(gdb, "E16");
        return;
    }
    if (!regs_of(gdb, &regs))
        return;
    gdb_out_begin(&gdb->out);
    gdb_out_hex(&gdb->out, bytes, gdb_reg_get(gdb->arch, (unsigned)number, &regs, bytes));
    gdb_out_end(&gdb->out);
}

static void cmd_reg_set(struct gdb *gdb, const char *text, size_t len)
{
    struct vcpu_regs regs;
    const char *start = text;
    uint8_t bytes[16], old[16];
    uint64_t number;
    size_t n;
    if (!gdb_number(&text, &number) || *text++ != '=' || number >= gdb_arch_count(gdb->arch) ||
        !gdb_unhex(text, len - (size_t)(text - start), bytes, sizeof bytes, &n)) {
        gdb_reply(gdb, "E16");
        return;
    }
    if (!regs_of(gdb, &regs))
        return;
    unsigned i = (unsigned)number, size = gdb_reg_get(gdb->arch, i, &regs, old);
    if (n != size || (gdb_reg_fixed(gdb->arch, i) && memcmp(bytes, old, size))) {
        gdb_reply(gdb, "E16");
        return;
    }
    gdb_reg_set(gdb->arch, i, &regs, bytes);
    set_regs(gdb, &regs);
}

static void cmd_read(struct gdb *gdb, const char *text, size_t len)
{
    uint8_t data[GDB_PACKET / 2];
    uint64_t addr, size;
    (void)len;
    if (!gdb_addr_len(&text, &addr, &size, 0)) {
        gdb_reply(gdb, "E16");
        return;
    }
    size_t n = gdb_memory_read(gdb, addr, data, size < sizeof data ? (size_t)size : sizeof data);
    if (n == 0 && size) {
        gdb_reply(gdb, "E0e");
        return;
    }
    gdb_out_begin(&gdb->out);
    gdb_out_hex(&gdb->out, data, n);
    gdb_out_end(&gdb->out);
}

static void write_memory(struct gdb *gdb, uint64_t addr, uint64_t size, const void *data, size_t n)
{
    if (n != size)
        gdb_reply(gdb, "E16");
    else
        gdb_reply(gdb, gdb_memory_write(gdb, addr, data, n) ? "OK" : "E0e");
}

static void cmd_write(struct gdb *gdb, const char *text, size_t len)
{
    uint8_t data[GDB_PACKET / 2];
    const char *start = text;
    uint64_t addr, size;
    size_t n;
    if (!gdb_addr_len(&text, &addr, &size, ':') ||
        !gdb_unhex(text + 1, len - (size_t)(text + 1 - start), data, sizeof data, &n))
        gdb_reply(gdb, "E16");
    else
        write_memory(gdb, addr, size, data, n);
}

static void cmd_write_binary(struct gdb *gdb, const char *text, size_t len)
{
    const char *start = text;
    uint64_t addr, size;
    if (!gdb_addr_len(&text, &addr, &size, ':'))
        gdb_reply(gdb, "E16");
    else
        write_memory(gdb, addr, size, text + 1, len - (size_t)(text + 1 - start));
}

/* Z0,ADDR,KIND[;…] and z. */
static void breakpoint(struct gdb *gdb, const char *text, bool insert)
{
    char z = text[0];
    uint64_t addr, size;
    if (!z || text[1] != ',') {
        gdb_reply(gdb, "E16");
        return;
    }
    text += 2;
    if (!gdb_number(&text, &addr) || *text++ != ',' || !gdb_number(&text, &size) || (*text && *text != ';')) {
        gdb_reply(gdb, "E16");
        return;
    }
    const char *error = insert ? gdb_break_insert(gdb, z, addr, size) : gdb_break_remove(gdb, z, addr, size);
    gdb_reply(gdb, error ? error : "OK");
}

static void cmd_break_insert(struct gdb *gdb, const char *text, size_t len)
{
    (void)len;
    breakpoint(gdb, text, true);
}

static void cmd_break_remove(struct gdb *gdb, const char *text, size_t len)
{
    (void)len;
    breakpoint(gdb, text, false);
}

static void cmd_thread(struct gdb *gdb, const char *text, size_t len)
{
    uint64_t id;
    char which = *text;
    (void)len;
    if ((which != 'g' && which != 'c') || (text++, !gdb_thread_id(&text, &id)) || *text ||
        (id && id != GDB_ALL && id - 1 >= gdb->n_cpus)) {
        gdb_reply(gdb, "E16");
        return;
    }
    if (which == 'c')
        gdb->resume_cpus_c = id;
    else if (id && id != GDB_ALL) /* 0 and -1: any will do */
        gdb->cpu = (unsigned)(id - 1);
    gdb_reply(gdb, "OK");
}

static void cmd_alive(struct gdb *gdb, const char *text, size_t len)
{
    uint64_t id;
    (void)len;
    gdb_reply(gdb, gdb_thread_id(&text, &id) && !*text && id - 1 < gdb->n_cpus ? "OK" : "E16");
}

static void cmd_why(struct gdb *gdb, const char *text, size_t len)
{
    (void)text, (void)len;
    gdb_reply(gdb, gdb->last_stop);
}

/* c [ADDR], s [ADDR], Csig[;ADDR], Ssig[;ADDR]: gdb's old words; Hc says who. */
static void old_resume(struct gdb *gdb, const char *text, bool step)
{
    struct vcpu_regs regs;
    uint64_t addr;
    if (*text) {
        if (!gdb_number(&text, &addr) || *text) {
            gdb_reply(gdb, "E16");
            return;
        }
        if (!regs_of(gdb, &regs))
            return;
        regs.rip = addr;
        if (!gdb->target->regs_set(gdb->ctx, gdb->cpu, &regs)) {
            gdb_reply(gdb, "E16");
            return;
        }
    }
    uint64_t who = gdb->resume_cpus_c;
    bool all = !step && (who == 0 || who == GDB_ALL);
    unsigned one = who && who != GDB_ALL ? (unsigned)(who - 1) : gdb->cpu;
    for (unsigned i = 0; i < gdb->n_cpus; i++)
        gdb->cpus[i].plan = !all && i != one ? GDB_HOLD : step ? GDB_STEP : GDB_RUN;
    gdb_resume(gdb);
}

/* A signal is nothing that could be delivered to a machine. */
static const char *skip_signal(const char *text)
{
    const char *semicolon = strchr(text, ';');
    return semicolon ? semicolon + 1 : "";
}

static void cmd_continue(struct gdb *gdb, const char *text, size_t len)
{
    (void)len;
    old_resume(gdb, text, false);
}
static void cmd_continue_signal(struct gdb *gdb, const char *text, size_t len)
{
    (void)len;
    old_resume(gdb, skip_signal(text), false);
}
static void cmd_step(struct gdb *gdb, const char *text, size_t len)
{
    (void)len;
    old_resume(gdb, text, true);
}
static void cmd_step_signal(struct gdb *gdb, const char *text, size_t len)
{
    (void)len;
    old_resume(gdb, skip_signal(text), true);
}

static void cmd_v(struct gdb *gdb, const char *text, size_t len)
{
    (void)len;
    if (!strcmp(text, "Cont?")) {
        gdb_reply(gdb, "vCont;c;C;s;S");
    } else if (!strncmp(text, "Cont;", 5)) {
        if (gdb_plans(gdb, text + 4))
            gdb_resume(gdb);
        else
            gdb_reply(gdb, "E16");
    } else if (!strncmp(text, "Kill;", 5)) {
        gdb_reply(gdb, "OK");
        gdb->done = true;
        gdb->target->kill(gdb->ctx);
    } else {
        gdb_reply(gdb, "");
    }
}

static void cmd_detach(struct gdb *gdb, const char *text, size_t len)
{
    (void)text, (void)len;
    gdb_leave(gdb);
    gdb_reply(gdb, "OK");
    gdb->done = true;
}

static void cmd_kill(struct gdb *gdb, const char *text, size_t len)
{
    (void)text, (void)len;
    gdb->done = true;
    gdb->target->kill(gdb->ctx);
}

static const struct {
    char letter;
    void (*fn)(struct gdb *gdb, const char *text, size_t len);
} commands[] = {
    {'?', cmd_why            },
    {'g', cmd_regs_get       },
    {'G', cmd_regs_set       },
    {'p', cmd_reg_get        },
    {'P', cmd_reg_set        },
    {'m', cmd_read           },
    {'M', cmd_write          },
    {'X', cmd_write_binary   },
    {'Z', cmd_break_insert   },
    {'z', cmd_break_remove   },
    {'H', cmd_thread         },
    {'T', cmd_alive          },
    {'c', cmd_continue       },
    {'C', cmd_continue_signal},
    {'s', cmd_step           },
    {'S', cmd_step_signal    },
    {'v', cmd_v              },
    {'D', cmd_detach         },
    {'k', cmd_kill           },
};

static void packet(struct gdb *gdb, const char *data, size_t n)
{
    if (gdb->running) {
        gdb_reply(gdb, "E01"); /* it is not stopped */
        return;
    }
    if (n && (data[0] == 'q' || data[0] == 'Q')) {
        if (!gdb_query(gdb, data, n))
            gdb_reply(gdb, "");
        return;
    }
    for (size_t i = 0; n && i < sizeof commands / sizeof *commands; i++)
        if (commands[i].letter == data[0]) {
            commands[i].fn(gdb, data + 1, n - 1);
            return;
        }
    gdb_reply(gdb, "");
}

/* The first good packet: so it is a gdb. */
static void attach(struct gdb *gdb)
{
    enum {
        EFER_LMA = 1 << 10,
    };
    gdb->target->stop(gdb->ctx);
    gdb->open = true;
    gdb->running = false;
    gdb->cpu = gdb->list_next = 0;
    gdb->resume_cpus_c = 0;
    bool wide = gdb->wide;
    for (unsigned i = 0; i < gdb->n_cpus && !wide; i++) {
        struct vcpu_regs regs;
        wide = gdb->target->regs_get(gdb->ctx, i, &regs) && regs.efer & EFER_LMA;
    }
    gdb->arch = gdb_arch(wide);
    snprintf(gdb->last_stop, sizeof gdb->last_stop, "T05thread:1;"); /* SIGTRAP */
}

/* --- bytes */

static void ack(struct gdb *gdb, char c)
{
    if (gdb->no_ack || gdb->out.n == sizeof gdb->out.data)
        return;
    if (gdb->out.sent == gdb->out.n)
        gdb->out.sent = gdb->out.n = 0;
    gdb->out.data[gdb->out.n++] = c;
}

size_t gdb_input(struct gdb *gdb, const char *data, size_t n, bool *ok)
{
    *ok = true;
    size_t i = 0;
    while (i < n && gdb->out.sent == gdb->out.n && !gdb->monitor && !gdb->done) {
        switch (gdb_in_byte(&gdb->in, data[i++])) {
        case GDB_GOT_PACKET:
            if (!gdb->open)
                attach(gdb);
            ack(gdb, '+');
            packet(gdb, gdb->in.data, gdb->in.n);
            break;
        case GDB_GOT_BAD:
            if (gdb->no_ack) /* a reliable stream, and yet: no gdb */
                *ok = false;
            ack(gdb, '-');
            break;
        case GDB_GOT_INTERRUPT:
            gdb_interrupt(gdb);
            break;
        case GDB_GOT_NAK:
            /* What was sent is gone, and the streams that we speak over lose nothing. */
            *ok = false;
            break;
        case GDB_GOT_GARBAGE: /* a browser that was lured here would talk like that */
            *ok = false;
            break;
        case GDB_GOT_ACK:
        case GDB_GOT_NOTHING:
            break;
        }
        if (!*ok)
            break;
    }
    return i;
}

const char *gdb_output(struct gdb *gdb, size_t *n)
{
    if (gdb->out.sent == gdb->out.n && gdb->monitor)
        gdb_monitor_more(gdb);
    *n = gdb->out.n - gdb->out.sent;
    return gdb->out.data + gdb->out.sent;
}

void gdb_sent(struct gdb *gdb, size_t n)
{
    gdb->out.sent += n;
}

bool gdb_done(const struct gdb *gdb)
{
    return gdb->done && gdb->out.sent == gdb->out.n;
}

/* --- life */

struct gdb *gdb_new(const struct gdb_target *target, void *ctx, bool wide)
{
    unsigned n = target->cpus(ctx);
    struct gdb *gdb = calloc(1, sizeof *gdb + n * sizeof gdb->cpus[0]);
    if (!gdb)
        return NULL;
    gdb->target = target;
    gdb->ctx = ctx;
    gdb->wide = wide;
    gdb->n_cpus = n;
    gdb->arch = gdb_arch(wide);
    return gdb;
}

void gdb_free(struct gdb *gdb)
{
    if (!gdb)
        return;
    free(gdb->monitor);
    free(gdb);
}

void gdb_open(struct gdb *gdb)
{
    gdb->no_ack = gdb->done = gdb->says_soft = gdb->says_hard = false;
    memset(&gdb->in, 0, offsetof(struct gdb_in, data));
    gdb->out.n = gdb->out.sent = 0;
}

void gdb_close(struct gdb *gdb)
{
    free(gdb->monitor);
    gdb->monitor = NULL;
    gdb->out.n = gdb->out.sent = 0;
    gdb_leave(gdb);
}
