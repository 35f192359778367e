/* SPDX-License-Identifier: MIT
 *
 * Register tables. A device's registers are one const table; from it come the access checks, the plain
 * behaviour (storage, masks, write-one-to-clear, clear-on-read, arrays), reset, names and bit fields for
 * traces, `info regs`, and the saved state. A device writes callbacks only for what a register sets off.
 *
 *   static const struct reg edu_regs[] = {
 *       {"id", 0x00, 4, .reset = 0x010000ed, REG_FIELD(struct edu, id)},
 *       {"status", 0x20, 4, .writable = 0x80, REG_FIELD(struct edu, status), .bits = edu_status_bits},
 *       {"factorial", 0x08, 4, .writable = ~0u, REG_FIELD(struct edu, fact), .write = edu_fact_write},
 *       {"src", 0x80, 8, .sizes = 4 | 8, .writable = ~0ull, REG_FIELD(struct edu, src)},
 *       {0}};
 *   static const struct reg_bank edu_bank = {.name = "regs", .size = 0x100, .regs = edu_regs};
 *
 * What an access does, with the device's lock held:
 *   look-up   by offset through an index built once for each device: O(1), no search.
 *   check     no register there: reads give the bank's `hole`, writes are dropped. A size that the register
 * does not take, an access that leaves the register, a write to a read-only or a locked one, a read of a write-only one:
 * all ones, or dropped. Each is counted in the device and told to its hooks (trace, lint). Never fatal. read
 * value = read callback, else the backing field (else the reset value: a constant); then the `clear_on_read` bits of the field are
 *             cleared, whichever bytes were read. The lanes asked for are given.
 *   write     full = the bytes written, put over what the field holds (over 0 without a field, and over 0 in
 * the write-one-to-clear bits): so a narrow write leaves other lanes alone. field = (field & ~writable | full
 * & writable) & ~(full & w1c); then the write callback gets `full`, bits outside `writable` included: with
 * writable 0 the callback alone decides what is stored. Arrays: count elements, `stride` bytes apart in the
 * bank, `field_stride` apart in memory; callbacks get the index.
 *
 * One offset may hold different registers for reads and writes (REG_RO, REG_WO: IIR and FCR) and for each page (`page`,
 * chosen by the bank's callback: DLAB). A bank need not be mapped: CMOS cells behind an index port are a bank that the
 * data port reads with regs_read().
 *
 * Threads: const after device_new(). Everything that touches a device's fields runs under its lock;
 * regs_dump() and regs_reset() expect the caller to hold it.
 */
#ifndef MEM_REGS_H
#define MEM_REGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "mem/job.h"
#include "mem/region.h"

struct device;

struct reg_bits {
    const char *name; /* NULL ends the list */
    uint8_t low;      /* lowest bit */
    uint8_t width;    /* 0 counts as 1 */
};
/* For .bits: REG_BITS({"RUN", 0, 1}, {"SIZE", 4, 2}) */
#define REG_BITS(...) ((const struct reg_bits[]){__VA_ARGS__, {0}})

enum reg_flag {
    REG_RO = 1 << 0,   /* only reads see this entry */
    REG_WO = 1 << 1,   /* only writes see this entry */
    REG_KEEP = 1 << 2, /* the reset value is set when the device is made, and survives device_reset() */
    REG_PURE = 1 << 3, /* the read callback changes nothing: dumps may call it */
    /* narrow accesses: of the low bytes; a write clears the others, at higher offsets is nothing */
    REG_LOW = 1 << 4,
    REG_DMA = 1 << 5,   /* a write starts DMA: for --lint */
    REG_START = 1 << 6, /* a write starts the job: mem/job.h */
};

struct reg {
    const char *name; /* NULL ends the table */
    uint32_t offset;  /* bytes from the start of the bank */
    uint8_t width;    /* bytes: 1, 2, 4, 8; also the width of an element of the backing field */
    uint8_t sizes;    /* access sizes taken, 1 | 2 | 4 | 8; 0: the full width only. None above the width */
    uint8_t flags;    /* enum reg_flag */
    uint8_t page;     /* seen while the bank's page() gives this number; REG_ANY_PAGE: always */
    uint16_t count;   /* elements of an array; 0: 1 */
    uint32_t stride;  /* bytes from element to element; 0: width */
    uint32_t field;   /* REG_FIELD(); 0: none (struct device comes first, so no field has offset 0) */
    uint32_t field_stride; /* 0: width */
    uint64_t reset, writable, w1c, clear_on_read;
    uint64_t (*read)(struct device *dev, unsigned index);
    void (*write)(struct device *dev, unsigned index, uint64_t value);
    bool (*locked)(const struct device *dev); /* asked before a write: while true, it does nothing */
    const struct job *job;                    /* nor while this runs: mem/job.h */
    const struct reg_bits *bits;              /* NULL: none named */
};

#define REG_ANY_PAGE              0xff
#define REG_FIELD(type_, member_) .field = offsetof(type_, member_)

struct reg_bank {
    const char *name;       /* "regs"; the region is called ID.NAME */
    uint64_t size;          /* bytes of the region */
    const struct reg *regs; /* ended by name NULL */
    uint64_t hole;          /* what reads of no register give, cut to the size */
    uint8_t region_flags;   /* REGION_SPLIT for 8-bit ports */
    uint8_t region_sizes;   /* sizes let through to the table; 0: 1 | 2 | 4 | 8 */
    uint8_t pages;          /* 0: 1 */
    unsigned (*page)(struct device *dev);
};

/* A bank of one device; made by device_new() for every bank of the class, reached by device_map(). */
struct reg_map {
    struct device *dev;
    const struct reg_bank *bank;
    struct region region;  /* I/O region under the device's lock; the device or its bus adds it somewhere */
    struct region_ops ops; /* const once made */
    char name[48];         /* of the region */
    uint16_t *index;       /* [page][0 read, 1 write][offset >> shift] -> register + 1, 0 for a hole */
    uint32_t slots;        /* length of one of those lists */
    uint8_t shift;
};

enum reg_fault {
    REG_FAULT_HOLE,      /* no register there */
    REG_FAULT_SIZE,      /* size not taken, or across the register's end */
    REG_FAULT_DIRECTION, /* write to a read-only register, read of a write-only one */
    REG_FAULT_LOCKED,    /* write to a register that is locked now */
    REG_FAULTS
};

/* What watches a device's registers: traces, lint, fault injection. device->hooks is NULL when nothing does,
 * which costs one predictable branch an access. All run under the device's lock and must not touch the
 * device. */
struct reg_hooks {
    /* After a read, before a write takes effect: `index` of the element, `value` in the lanes of the register
     * (shifted down to its lowest byte), `offset` from the start of the bank. */
    void (*access)(void *ctx, struct device *dev, const struct reg *reg, unsigned index, bool write,
                   uint64_t offset, unsigned size, uint64_t value);
    /* After a write, callbacks included. */
    void (*written)(void *ctx, struct device *dev, const struct reg *reg, unsigned index);
    /* Instead of the above: reg is NULL for a hole. */
    void (*refused)(void *ctx, struct device *dev, enum reg_fault why, const struct reg *reg, bool write,
                    uint64_t offset, unsigned size, uint64_t value);
    /* First of all: true lets a fault stand in for the access (reads give *value). */
    bool (*intercept)(void *ctx, struct reg_map *map, bool write, uint64_t offset, unsigned size,
                      uint64_t *value);
    void *ctx;
};

/* Checks the table (overlaps, widths, sizes, fields inside the device) and builds the index: a wrong table is
 * a bug of the program, an assertion. False: no memory. Called by device_new(). */
bool reg_map_init(struct reg_map *map, struct device *dev, const struct reg_bank *bank, size_t device_size)
    __attribute__((warn_unused_result));
void reg_map_free(struct reg_map *map);

/* An access as a guest does it, device lock held. size 1, 2, 4, 8. */
uint64_t regs_read(struct reg_map *map, uint64_t offset, unsigned size);
void regs_write(struct reg_map *map, uint64_t offset, uint64_t value, unsigned size);

/* Sets the backing fields to the reset values; `all`: those with REG_KEEP too. */
void regs_reset(struct reg_map *map, bool all);

/* The backing field of an element; without one the reset value, and nothing. No callbacks. */
uint64_t reg_field_get(const struct device *dev, const struct reg *reg, unsigned index);
void reg_field_set(struct device *dev, const struct reg *reg, unsigned index, uint64_t value);

/* The register that an access to this offset means, whatever its size and direction, for messages; NULL: there is none. */
const struct reg *regs_meant(struct reg_map *map, uint64_t offset);

/* `info regs`: one line a register: offset, name, value, bit fields that are not 0. Changes nothing: a
 * register whose value only a callback with effects knows is shown as `-`. */
void regs_dump(struct reg_map *map, FILE *out);
/* "EN=1 MODE=2": the named fields that are not 0, at most size - 1 characters. Returns buf. */
char *reg_bits_text(const struct reg *reg, uint64_t value, char *buf, size_t size);
/* "STATUS", or "MTA[3]" for an array. Returns buf. */
char *reg_name_text(const struct reg *reg, unsigned index, char *buf, size_t size);

#endif
