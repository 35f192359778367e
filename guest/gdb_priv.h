/* SPDX-License-Identifier: MIT
 *
 * What the files of the gdb stub share: see include/guest/gdb.h.
 */
#ifndef GUEST_GDB_PRIV_H
#define GUEST_GDB_PRIV_H

#include "guest/gdb.h"

#include <stdatomic.h>

/* --- gdb_packet.c: from bytes to packets. */
enum gdb_got {
    GDB_GOT_NOTHING,
    GDB_GOT_PACKET, /* in->data, in->n; a zero behind it */
    GDB_GOT_BAD,    /* checksum wrong, or too long */
    GDB_GOT_INTERRUPT,
    GDB_GOT_ACK,
    GDB_GOT_NAK,
    GDB_GOT_GARBAGE, /* a byte that belongs to nothing */
};
struct gdb_in {
    size_t n;
    uint8_t state, sum, digit;
    bool escaped, too_long;
    char data[GDB_PACKET + 1];
};
enum gdb_got gdb_in_byte(struct gdb_in *in, char c);

/* And back: gdb_out_begin(), contents, gdb_out_end(). Several packets may follow each other; one that finds no room becomes an
 * error. */
enum {
    GDB_OUT = 2 * GDB_PACKET + 64, /* each byte escaped */
};
struct gdb_out {
    size_t n, sent;
    size_t start; /* of the packet in the making */
    bool overflow;
    char data[GDB_OUT];
};
void gdb_out_begin(struct gdb_out *out);
void gdb_out_bytes(struct gdb_out *out, const void *data, size_t n); /* escaped as need be */
void gdb_out_text(struct gdb_out *out, const char *text);
void gdb_out_print(struct gdb_out *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void gdb_out_hex(struct gdb_out *out, const void *data, size_t n);
void gdb_out_end(struct gdb_out *out);

/* Hexadecimal digits: how many were read goes to *n, at most max bytes; false: a character that is none, or an odd number. */
bool gdb_unhex(const char *text, size_t len, void *data, size_t max, size_t *n);
/* A hexadecimal number; *text moves behind it. false: there is none, or it has more than 64 bits. */
bool gdb_number(const char **text, uint64_t *value);
/* "ADDR,LEN" and then end. */
bool gdb_addr_len(const char **text, uint64_t *addr, uint64_t *len, char end);

/* --- gdb_regs.c: the registers of one description, in gdb's order. */
struct gdb_arch;
const struct gdb_arch *gdb_arch(bool wide);
unsigned gdb_arch_count(const struct gdb_arch *arch);
void gdb_arch_xml(const struct gdb_arch *arch, FILE *out);
/* Bytes of register i (at most 16) from and to regs; 0: no such register. Bits that regs has no room for are dropped. */
unsigned gdb_reg_get(const struct gdb_arch *arch, unsigned i, const struct vcpu_regs *regs, void *bytes);
unsigned gdb_reg_set(const struct gdb_arch *arch, unsigned i, struct vcpu_regs *regs, const void *bytes);
/* One that cannot be changed (vcpu_regs_set()). */
bool gdb_reg_fixed(const struct gdb_arch *arch, unsigned i);

/* --- gdb_memory.c */
struct gdb_soft {
    uint64_t va, gpa;
    uint8_t saved;
};
struct gdb_hard {
    enum vcpu_hard_kind kind;
    char z; /* '1' to '4': what gdb asked for; 0: free */
    uint8_t size;
    uint64_t addr;                  /* of this piece */
    uint64_t asked_addr, asked_len; /* of the whole */
};
struct gdb_breaks {
    unsigned n_soft;
    struct gdb_soft soft[GDB_SOFT_MAX];
    struct gdb_hard hard[VCPU_HARD];
};
/* Returns how many bytes could be read from va on. */
size_t gdb_memory_read(struct gdb *gdb, uint64_t va, void *data, size_t n);
/* All or nothing, as far as can be known beforehand. */
bool gdb_memory_write(struct gdb *gdb, uint64_t va, const void *data, size_t n);
/* NULL: done (also when it was so already); else "E..." or "" for what cannot be had. */
const char *gdb_break_insert(struct gdb *gdb, char z, uint64_t addr, uint64_t len);
const char *gdb_break_remove(struct gdb *gdb, char z, uint64_t addr, uint64_t len);
void gdb_break_clear(struct gdb *gdb);
/* Is it ours, the int3 at that address as the vCPU sees it? */
bool gdb_break_at(struct gdb *gdb, unsigned cpu, uint64_t va);

/* --- the session */
enum gdb_plan {
    GDB_HOLD,
    GDB_RUN,
    GDB_STEP,
};
struct gdb_cpu {
    enum gdb_plan plan;
    struct vcpu_debug armed;
    struct vcpu_debug_event event; /* valid while happened is set */
    atomic_bool happened;
    bool kept; /* a data watchpoint that was met, and not told yet */
};
struct gdb {
    const struct gdb_target *target;
    void *ctx;
    unsigned n_cpus;
    bool wide;
    const struct gdb_arch *arch; /* of this connection */

    bool open; /* there is a gdb, not only a connection */
    bool running, no_ack, done;
    bool says_soft, says_hard; /* gdb understands swbreak and hwbreak */
    unsigned cpu;              /* Hg */
    unsigned list_next;        /* qsThreadInfo */
    uint64_t resume_cpus_c;    /* Hc: thread id, 0 any, all ones: all */
    char last_stop[96];

    char *monitor; /* what is still to be sent of an answer */
    size_t monitor_size, monitor_sent;

    struct gdb_breaks breaks;
    struct gdb_in in;
    struct gdb_out out;
    struct gdb_cpu cpus[];
};

/* --- gdb_query.c: false: not known. */
bool gdb_query(struct gdb *gdb, const char *text, size_t len);
/* The next part of monitor's answer, once the last has gone. */
void gdb_monitor_more(struct gdb *gdb);
/* "p1.2" is not offered; "2", "0", "-1". false: none. */
bool gdb_thread_id(const char **text, uint64_t *id);
void gdb_reply(struct gdb *gdb, const char *text);

/* --- gdb_run.c */
#define GDB_ALL UINT64_MAX /* a thread id: -1 */
/* ";ACTION[:THREAD]…" as in vCont: who is to do what. false: it makes no sense. */
bool gdb_plans(struct gdb *gdb, const char *text);
/* As planned; or tells of what was met before. */
void gdb_resume(struct gdb *gdb);
/* Ctrl-C. */
void gdb_interrupt(struct gdb *gdb);
/* Everything as if gdb had never been here. */
void gdb_leave(struct gdb *gdb);

#endif
