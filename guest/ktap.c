// SPDX-License-Identifier: MIT
/*
 * Test results in a guest's output: see include/guest/ktap.h.
 *
 * A level opens with the first line that stands deeper than the one that is open, and closes with the first that stands less
 * deep: that is its own result line, which gives the results below it their path.
 */
#include "guest/ktap.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NO_PLAN UINT32_MAX

struct ktap {
    struct ktap_result *results;
    uint32_t n, room;
    char *text; /* [0] is 0: the empty text */
    uint32_t text_used, text_room;
    uint32_t count[KTAP_STATUSES];
    bool any;
};

/* ---- the store ---- */

struct ktap *ktap_new(void)
{
    return calloc(1, sizeof(struct ktap));
}

void ktap_free(struct ktap *k)
{
    if (!k)
        return;
    free(k->results);
    free(k->text);
    free(k);
}

bool ktap_any(const struct ktap *k)
{
    return k->any;
}

uint32_t ktap_count(const struct ktap *k, enum ktap_status status)
{
    return k->count[status];
}

uint32_t ktap_listed(const struct ktap *k)
{
    return k->n;
}

const struct ktap_result *ktap_result(const struct ktap *k, uint32_t i)
{
    return &k->results[i];
}

const char *ktap_text(const struct ktap *k, uint32_t text)
{
    return text ? k->text + text : "";
}

/* 0, the empty text, where there is no room. */
static uint32_t keep(struct ktap *k, const char *s, size_t n)
{
    if (n == 0)
        return 0;
    if (!k->text_used)
        k->text_used = 1;
    if (n + 1 > KTAP_TEXT - k->text_used)
        return 0;
    if (k->text_used + n + 1 > k->text_room) {
        uint32_t room = k->text_room ? 2 * k->text_room : 64 * 1024;
        char *more = realloc(k->text, room);
        if (!more)
            return 0;
        k->text = more;
        k->text_room = room;
    }
    uint32_t at = k->text_used;
    memcpy(k->text + at, s, n);
    k->text[at + n] = 0;
    k->text_used += (uint32_t)n + 1;
    return at;
}

/* NULL: it is counted alone. */
static struct ktap_result *list(struct ktap *k)
{
    if (k->n == k->room) {
        uint32_t room = k->room ? 2 * k->room : 64;
        struct ktap_result *more =
            room > KTAP_RESULTS ? NULL : realloc(k->results, room * sizeof *k->results);
        if (!more)
            return NULL;
        k->results = more;
        k->room = room;
    }
    return &k->results[k->n++];
}

/* ---- levels ---- */

void ktap_reader_init(struct ktap_reader *r, struct ktap *ktap)
{
    memset(r, 0, sizeof *r);
    r->ktap = ktap;
}

static void record(struct ktap_reader *r, enum ktap_status status, bool leaf, const char *name,
                   size_t name_len, const char *reason, size_t reason_len)
{
    struct ktap *k = r->ktap;
    if (leaf)
        k->count[status]++;
    struct ktap_result *result = list(k);
    if (result)
        *result = (struct ktap_result){
            .name = keep(k, name, name_len),
            .reason = keep(k, reason, reason_len),
            .log = status == KTAP_FAILED ? keep(k, r->log, r->log_used) : 0,
            .status = (uint8_t)status,
            .leaf = leaf,
        };
    r->log_used = 0;
}

/* The level's tests are over; `name` is its own, where it is known now. Whether one of them failed. */
static bool close_level(struct ktap_reader *r, const char *name, size_t name_len)
{
    struct ktap *k = r->ktap;
    struct ktap_level *l = &r->level[--r->levels];
    if (!name_len) {
        name = l->name;
        name_len = strlen(name);
    }
    if (l->planned == NO_PLAN ? l->seen == 0 : l->seen < l->planned) {
        char missing[80];
        int n = l->planned == NO_PLAN ? snprintf(missing, sizeof missing, "no result came")
                                      : snprintf(missing, sizeof missing, "%u of %u results are missing",
                                                 l->planned - l->seen, l->planned);
        record(r, KTAP_FAILED, true, "(end)", 5, missing, (size_t)n);
        l->failed = true;
    }
    /* the same prefix for all of them, kept once; those that lie in deeper levels have a path already */
    uint32_t whole = 0, inner = 0, made = 0;
    for (uint32_t i = l->first; name_len && i < k->n; i++) {
        struct ktap_result *result = &k->results[i];
        if (!result->path) {
            if (!whole)
                whole = keep(k, name, name_len);
            result->path = whole;
        } else if (result->path == inner && made) {
            result->path = made;
        } else {
            char path[2 * KTAP_LINE];
            inner = result->path;
            int n = snprintf(path, sizeof path, "%.*s/%s", (int)name_len, name, ktap_text(k, inner));
            made = keep(k, path, n < (int)sizeof path ? (size_t)n : sizeof path - 1);
            result->path = made ? made : inner;
        }
    }
    return l->failed;
}

/* The level that lines of this indentation belong to: deeper ones end here. NULL: too deep. */
static struct ktap_level *enter(struct ktap_reader *r, unsigned indent)
{
    while (r->levels > 1 && r->level[r->levels - 1].indent > indent) {
        bool failed = close_level(r, NULL, 0);
        r->level[r->levels - 1].failed |= failed;
    }
    if (r->levels == 0 || r->level[r->levels - 1].indent < indent) {
        if (r->levels == KTAP_LEVELS)
            return NULL;
        r->level[r->levels++] =
            (struct ktap_level){.indent = indent, .planned = NO_PLAN, .first = r->ktap->n};
    }
    return &r->level[r->levels - 1];
}

/* ---- lines ---- */

static bool begins(const char *s, const char *with)
{
    return !strncmp(s, with, strlen(with));
}

static void version(struct ktap_reader *r, unsigned indent)
{
    if (indent == 0) /* another run begins */
        while (r->levels)
            close_level(r, NULL, 0);
    r->awake = r->ktap->any = true;
    r->bailed = false;
    enter(r, indent);
}

/* "1..N" */
static bool plan(struct ktap_reader *r, unsigned indent, const char *s)
{
    char *end;
    if (!begins(s, "1.."))
        return false;
    unsigned long n = strtoul(s + 3, &end, 10);
    if (end == s + 3 || s[3] < '0' || s[3] > '9' || (*end && *end != ' ') || n >= NO_PLAN)
        return false;
    struct ktap_level *l = enter(r, indent);
    if (l)
        l->planned = (uint32_t)n;
    /* a program that skips itself as a whole; of one below others the parent's line says it */
    const char *skip = strstr(end, "# SKIP");
    if (skip && !n && r->levels == 1 && !l->seen) {
        skip += strlen("# SKIP");
        skip += strspn(skip, " ");
        record(r, KTAP_SKIPPED, true, "(all)", 5, skip, strlen(skip));
    }
    return true;
}

/* "ok 1 - name # DIRECTIVE reason"; `s` stands behind "ok" or "not ok". */
static bool result(struct ktap_reader *r, unsigned indent, const char *s, bool ok)
{
    if (*s != ' ' && *s)
        return false;
    s += strspn(s, " ");
    if (*s < '0' || *s > '9')
        return false;
    s += strspn(s, "0123456789");
    if (*s && *s != ' ')
        return false;
    s += strspn(s, " ");
    if (begins(s, "- "))
        s += 2;
    const char *directive = strstr(s, "# "), *reason = "";
    size_t n = directive ? (size_t)(directive - s) : strlen(s);
    while (n && s[n - 1] == ' ')
        n--;
    enum ktap_status status = ok ? KTAP_PASSED : KTAP_FAILED;
    if (directive) {
        directive += 2;
        reason = directive;
        if (begins(directive, "SKIP") || begins(directive, "skip")) {
            status = KTAP_SKIPPED;
            reason += 4;
        } else if (begins(directive, "TODO") || begins(directive, "XFAIL")) {
            status = KTAP_SKIPPED; /* known to fail: no verdict either way */
        }
        reason += strspn(reason, " ");
    }
    /* what stands deeper is below this one */
    bool parent = false, failed = false;
    uint32_t below = 0;
    while (r->levels > 1 && r->level[r->levels - 1].indent > indent) {
        bool own = r->level[r->levels - 2].indent <= indent;
        below += r->level[r->levels - 1].seen;
        failed |= close_level(r, own ? s : NULL, own ? n : 0);
        parent = below || failed; /* one without tests is a test itself */
    }
    struct ktap_level *l = enter(r, indent);
    if (!l)
        l = &r->level[KTAP_LEVELS - 1];
    l->seen++;
    l->failed |= failed || status == KTAP_FAILED;
    record(r, status, !parent || (status == KTAP_FAILED && !failed), s, n, reason, strlen(reason));
    return true;
}

/* A line that says nothing to us may tell why the next test failed. */
static void remember(struct ktap_reader *r, const char *line)
{
    size_t n = strlen(line);
    if (n + 1 > KTAP_LOG)
        n = KTAP_LOG - 1;
    if (n + 1 > KTAP_LOG - r->log_used) { /* the oldest lines go */
        size_t drop = r->log_used + n + 1 - KTAP_LOG;
        const char *cut = memchr(r->log + drop, '\n', r->log_used - drop);
        drop = cut ? (size_t)(cut + 1 - r->log) : r->log_used;
        memmove(r->log, r->log + drop, r->log_used - drop);
        r->log_used -= drop;
    }
    memcpy(r->log + r->log_used, line, n);
    r->log_used += n;
    r->log[r->log_used++] = '\n';
}

void ktap_line(struct ktap_reader *r, const char *line)
{
    unsigned indent = (unsigned)strspn(line, " ");
    const char *s = line + indent;
    if (begins(s, "KTAP version ") || begins(s, "TAP version ")) {
        version(r, indent);
        return;
    }
    if (!r->awake)
        return;
    struct ktap_level *l;
    if (begins(s, "# Subtest: ")) {
        if ((l = enter(r, indent)))
            snprintf(l->name, sizeof l->name, "%s", s + 11);
    } else if (begins(s, "Bail out!")) {
        if (!r->bailed)
            record(r, KTAP_FAILED, true, "Bail out!", 9, s + 9 + strspn(s + 9, " "),
                   strlen(s + 9 + strspn(s + 9, " ")));
        r->bailed = true;
        r->levels = 0; /* nothing more is owed */
    } else if (!plan(r, indent, s) && !(begins(s, "ok") && result(r, indent, s + 2, true)) &&
               !(begins(s, "not ok") && result(r, indent, s + 6, false))) {
        remember(r, line);
    }
}

void ktap_feed(struct ktap_reader *r, const void *bytes, size_t n)
{
    for (const char *p = bytes, *end = p + n; p < end; p++) {
        if (*p == '\n') {
            if (r->used && r->line[r->used - 1] == '\r')
                r->used--;
            r->line[r->used] = 0;
            r->used = 0;
            ktap_line(r, r->line);
        } else if (*p && r->used < KTAP_LINE) {
            r->line[r->used++] = *p;
        }
    }
}

void ktap_end(struct ktap_reader *r)
{
    if (r->used)
        ktap_feed(r, "\n", 1);
    while (r->levels)
        close_level(r, NULL, 0);
    r->awake = false;
}
