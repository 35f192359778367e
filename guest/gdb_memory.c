// SPDX-License-Identifier: MIT
/* Memory as the selected thread sees it, and what gdb has put into it. A software breakpoint is known by its virtual address,
 * as gdb names it, and by the physical one, as others meet it: the same byte may be mapped at several places, and other
 * threads may have other page tables. */
#include "gdb_priv.h"

#include <string.h>

enum {
    PAGE = 4096,
    INT3 = 0xcc,
};

/* --- physical bytes with our breakpoints thought away */

/* The byte of data, which is what stands at gpa and on, that b has changed; NULL: it lies elsewhere. */
static uint8_t *changed(const struct gdb_soft *b, uint64_t gpa, uint8_t *data, size_t n)
{
    return b->gpa < gpa || b->gpa - gpa >= n ? NULL : &data[b->gpa - gpa];
}

/* What was read becomes what would be there without us. */
static void unmask(struct gdb *gdb, uint64_t gpa, uint8_t *data, size_t n)
{
    for (unsigned i = 0; i < gdb->breaks.n_soft; i++) {
        const struct gdb_soft *b = &gdb->breaks.soft[i];
        uint8_t *byte = changed(b, gpa, data, n);
        if (byte && *byte == INT3) /* else the guest has written there meanwhile */
            *byte = b->saved;
    }
}

/* What is to be written goes below the breakpoints, of which several may be on one byte. */
static void mask(struct gdb *gdb, uint64_t gpa, uint8_t *data, size_t n)
{
    const uint8_t *byte;
    for (unsigned i = 0; i < gdb->breaks.n_soft; i++)
        if ((byte = changed(&gdb->breaks.soft[i], gpa, data, n)))
            gdb->breaks.soft[i].saved = *byte;
    for (unsigned i = 0; i < gdb->breaks.n_soft; i++)
        if (changed(&gdb->breaks.soft[i], gpa, data, n))
            *changed(&gdb->breaks.soft[i], gpa, data, n) = INT3;
}

/* How much of [va, va + n) lies in one page, and where. 0: not mapped. */
static size_t piece(struct gdb *gdb, unsigned cpu, uint64_t va, size_t n, uint64_t *gpa)
{
    size_t left = PAGE - (size_t)(va & (PAGE - 1));
    if (!gdb->target->translate(gdb->ctx, cpu, va, gpa))
        return 0;
    return n < left ? n : left;
}

size_t gdb_memory_read(struct gdb *gdb, uint64_t va, void *data, size_t n)
{
    size_t done = 0, step;
    uint64_t gpa;
    uint8_t *bytes = data;
    for (; done < n; done += step) {
        step = piece(gdb, gdb->cpu, va + done, n - done, &gpa);
        if (!step || !gdb->target->read(gdb->ctx, gpa, bytes + done, step))
            break;
        unmask(gdb, gpa, bytes + done, step);
    }
    return done;
}

bool gdb_memory_write(struct gdb *gdb, uint64_t va, const void *data, size_t n)
{
    uint8_t page[PAGE];
    const uint8_t *bytes = data;
    uint64_t gpa;
    size_t step;
    for (size_t done = 0; done < n; done += step) /* a look first, so that half a write is rare */
        if (!(step = piece(gdb, gdb->cpu, va + done, n - done, &gpa)) ||
            !gdb->target->read(gdb->ctx, gpa, page, step))
            return false;
    for (size_t done = 0; done < n; done += step) {
        step = piece(gdb, gdb->cpu, va + done, n - done, &gpa);
        if (!step)
            return false;
        memcpy(page, bytes + done, step);
        mask(gdb, gpa, page, step);
        if (!gdb->target->write(gdb->ctx, gpa, page, step))
            return false;
    }
    return true;
}

/* --- software breakpoints */

static struct gdb_soft *soft_by_va(struct gdb *gdb, uint64_t va)
{
    for (unsigned i = 0; i < gdb->breaks.n_soft; i++)
        if (gdb->breaks.soft[i].va == va)
            return &gdb->breaks.soft[i];
    return NULL;
}

static struct gdb_soft *soft_by_gpa(struct gdb *gdb, uint64_t gpa)
{
    for (unsigned i = 0; i < gdb->breaks.n_soft; i++)
        if (gdb->breaks.soft[i].gpa == gpa)
            return &gdb->breaks.soft[i];
    return NULL;
}

static const char *soft_insert(struct gdb *gdb, uint64_t va)
{
    static const uint8_t int3 = INT3;
    struct gdb_breaks *all = &gdb->breaks;
    struct gdb_soft b = {.va = va};
    if (soft_by_va(gdb, va))
        return NULL;
    if (all->n_soft == GDB_SOFT_MAX)
        return "E1c"; /* ENOSPC */
    if (!gdb->target->translate(gdb->ctx, gdb->cpu, va, &b.gpa))
        return "E0e"; /* EFAULT */
    const struct gdb_soft *same = soft_by_gpa(gdb, b.gpa);
    if (same)
        b.saved = same->saved;
    else if (!gdb->target->read(gdb->ctx, b.gpa, &b.saved, 1) ||
             !gdb->target->write(gdb->ctx, b.gpa, &int3, 1))
        return "E0e";
    all->soft[all->n_soft++] = b;
    return NULL;
}

/* The byte goes back, unless the guest has put something else there. */
static void soft_remove(struct gdb *gdb, struct gdb_soft *b)
{
    struct gdb_soft gone = *b;
    uint8_t byte;
    *b = gdb->breaks.soft[--gdb->breaks.n_soft];
    if (!soft_by_gpa(gdb, gone.gpa) && gdb->target->read(gdb->ctx, gone.gpa, &byte, 1) && byte == INT3)
        (void)!gdb->target->write(gdb->ctx, gone.gpa, &gone.saved, 1);
}

bool gdb_break_at(struct gdb *gdb, unsigned cpu, uint64_t va)
{
    uint64_t gpa;
    if (gdb->target->translate(gdb->ctx, cpu, va, &gpa))
        return soft_by_gpa(gdb, gpa) != NULL;
    return soft_by_va(gdb, va) != NULL;
}

/* --- hardware: four registers, each for 1, 2, 4 or 8 aligned bytes; what is longer or lies odd takes several. */

static const char *hard_insert(struct gdb *gdb, char z, uint64_t addr, uint64_t len)
{
    static const enum vcpu_hard_kind kinds[] = {VCPU_HARD_EXECUTE, VCPU_HARD_WRITE, VCPU_HARD_ACCESS,
                                                VCPU_HARD_ACCESS};
    struct gdb_hard *hard = gdb->breaks.hard, piece[VCPU_HARD];
    unsigned n = 0, room = 0;
    if (z == '1')
        len = 1; /* gdb names the length of the instruction, DR7 wants 1 */
    for (unsigned i = 0; i < VCPU_HARD; i++) {
        if (hard[i].z == z && hard[i].asked_addr == addr && hard[i].asked_len == len)
            return NULL;
        room += !hard[i].z;
    }
    if (!len || len > 8 * VCPU_HARD)
        return "E16"; /* EINVAL */
    for (uint64_t at = addr, left = len; left; n++) {
        uint8_t size = 8;
        while (at % size || size > left)
            size /= 2;
        if (n == room)
            return "E1c"; /* ENOSPC */
        piece[n] = (struct gdb_hard){kinds[z - '1'], z, size, at, addr, len};
        at += size;
        left -= size;
    }
    for (unsigned i = 0; n; i++)
        if (!hard[i].z)
            hard[i] = piece[--n];
    return NULL;
}

static void hard_remove(struct gdb *gdb, char z, uint64_t addr, uint64_t len)
{
    struct gdb_hard *hard = gdb->breaks.hard;
    if (z == '1')
        len = 1;
    for (unsigned i = 0; i < VCPU_HARD; i++)
        if (hard[i].z == z && hard[i].asked_addr == addr && hard[i].asked_len == len)
            hard[i] = (struct gdb_hard){.z = 0};
}

/* --- both */

const char *gdb_break_insert(struct gdb *gdb, char z, uint64_t addr, uint64_t len)
{
    if (z == '0')
        return soft_insert(gdb, addr);
    return z >= '1' && z <= '4' ? hard_insert(gdb, z, addr, len) : "";
}

const char *gdb_break_remove(struct gdb *gdb, char z, uint64_t addr, uint64_t len)
{
    if (z == '0') {
        struct gdb_soft *b = soft_by_va(gdb, addr);
        if (b)
            soft_remove(gdb, b);
    } else if (z >= '1' && z <= '4') {
        hard_remove(gdb, z, addr, len);
    } else {
        return "";
    }
    return NULL;
}

void gdb_break_clear(struct gdb *gdb)
{
    while (gdb->breaks.n_soft)
        soft_remove(gdb, &gdb->breaks.soft[gdb->breaks.n_soft - 1]);
    memset(gdb->breaks.hard, 0, sizeof gdb->breaks.hard);
}
