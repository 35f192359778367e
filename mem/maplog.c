// SPDX-License-Identifier: MIT
/* The log of map changes: see include/mem/maplog.h.
 *
 * Each commit tells all that stands: what is new (add) and what stayed (nop). So a table of the devices' regions with the place
 * where each was last seen is enough: at the end of a commit, what was not told of is seen no more. A region's place is where
 * its first byte would be, so that pieces of it all say the same. */
#include "mem/maplog.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "kvm/host/log.h"
#include "mem/device.h"

enum {
    REGIONS = 1024, /* a power of two; more regions of devices than that are left out */
};

struct seen {
    const struct region *region;
    bool was, is; /* seen before this commit, after it */
    uint64_t from, to;
};

struct maplog {
    struct listener listener;
    void (*tell)(void *ctx, const char *line);
    void *ctx;
    bool started;
    struct seen table[REGIONS]; /* a hash by address; nothing is ever taken out */
    uint64_t lines, left_out;
    char ring[MAPLOG_LINES][MAPLOG_TEXT];
    struct maplog *next;
};

static struct maplog *all; /* topology lock */

static struct maplog *log_of(struct listener *l)
{
    return (struct maplog *)l; /* its first member */
}

static void on_begin(struct listener *l)
{
    struct maplog *log = log_of(l);
    for (unsigned i = 0; i < REGIONS; i++) {
        struct seen *s = &log->table[i];
        s->was = s->is;
        s->from = s->to;
        s->is = false;
    }
}

static void on_range(struct listener *l, const struct range *r)
{
    struct maplog *log = log_of(l);
    if (!r->region->dev)
        return;
    unsigned first = (unsigned)((uintptr_t)r->region * UINT64_C(0x9e3779b97f4a7c15) >> 40) % REGIONS;
    for (unsigned i = 0; i < REGIONS; i++) {
        struct seen *s = &log->table[(first + i) % REGIONS];
        if (s->region && s->region != r->region)
            continue;
        s->region = r->region;
        s->is = true;
        s->to = r->first - r->offset;
        return;
    }
    log->left_out++;
}

static const char *place(char *buf, size_t size, bool seen, uint64_t addr, const char *none)
{
    if (!seen)
        return none;
    snprintf(buf, size, "0x%" PRIx64, addr);
    return buf;
}

static void add_line(struct maplog *log, const struct seen *s)
{
    const struct region *r = s->region;
    char what[80], from[32], to[32], *line = log->ring[log->lines++ % MAPLOG_LINES];
    snprintf(what, sizeof what, r->role ? "%s of %s" : "%.60s", r->role ? r->role : r->name, r->dev->id);
    snprintf(line, MAPLOG_TEXT, "%s %s -> %s", what, place(from, sizeof from, s->was, s->from, "nowhere"),
             place(to, sizeof to, s->is, s->to, r->enabled ? "hidden" : "off"));
    if (log->tell)
        log->tell(log->ctx, line);
}

static void on_commit(struct listener *l)
{
    struct maplog *log = log_of(l);
    for (unsigned i = 0; log->started && i < REGIONS; i++) {
        const struct seen *s = &log->table[i];
        if (s->was != s->is || (s->is && s->from != s->to))
            add_line(log, s);
    }
}

static const struct listener_ops listener_ops = {
    .begin = on_begin,
    .region_add = on_range,
    .region_nop = on_range,
    .commit = on_commit,
};

struct maplog *maplog_new(struct space *space, void (*tell)(void *ctx, const char *line), void *ctx)
{
    struct maplog *log = calloc(1, sizeof *log);
    if (!log)
        die("log of map changes: out of memory");
    log->listener = (struct listener){.ops = &listener_ops, .priority = 30};
    log->tell = tell;
    log->ctx = ctx;
    listener_register(space, &log->listener);
    topology_take();
    log->started = true;
    log->next = all;
    all = log;
    topology_drop();
    return log;
}

void maplog_free(struct maplog *log)
{
    if (!log)
        return;
    topology_take();
    log->started = false;
    listener_unregister(&log->listener);
    struct maplog **at = &all;
    while (*at != log)
        at = &(*at)->next;
    *at = log->next;
    topology_drop();
    free(log);
}

void maplog_print(FILE *out)
{
    topology_take();
    for (const struct maplog *log = all; log; log = log->next) {
        uint64_t n = log->lines < MAPLOG_LINES ? log->lines : MAPLOG_LINES;
        fprintf(out, "map changes of %s: %" PRIu64, log->listener.space->name, log->lines);
        if (log->lines > n)
            fprintf(out, ", the last %" PRIu64, n);
        if (log->left_out)
            fprintf(out, ", %" PRIu64 " of regions that it has no room for", log->left_out);
        fputc('\n', out);
        for (uint64_t i = log->lines - n; i < log->lines; i++)
            fprintf(out, "  %s\n", log->ring[i % MAPLOG_LINES]);
        fputc('\n', out);
    }
    topology_drop();
}
