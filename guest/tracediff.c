// SPDX-License-Identifier: MIT
/* Comparing traces: see include/guest/tracediff.h. Each side is a window of events that are not compared yet, long enough that a
 * repetition is seen before its first event is given out. */
#include "guest/tracediff.h"

#include "kvm/host/log.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum {
    WINDOW = 2 * TRACE_DIFF_PERIOD,
};

struct event {
    unsigned long line;
    bool read;                 /* of a register */
    char raw[TRACE_DIFF_LINE]; /* without the newline */
    char key[TRACE_DIFF_LINE]; /* what is compared: the members, but some */
    char reg[256];             /* a read's: device and register */
};

struct side {
    const char *name;
    FILE *file;
    unsigned long line;
    bool over, trouble;
    unsigned first, n; /* the window: a ring */
    struct event window[WINDOW + 1];
};

static bool trouble(struct side *s, const char *what)
{
    warn("trace-diff: %s:%lu: %s", s->name, s->line, what);
    s->trouble = s->over = true;
    return false;
}

/* --- JSON, as far as traces go: an object of strings, numbers, words, and objects of these (RFC 8259) */

struct text {
    const char *at;
};

static void blanks(struct text *t)
{
    t->at += strspn(t->at, " \t\r");
}

static bool take(struct text *t, char c)
{
    blanks(t);
    if (*t->at != c)
        return false;
    t->at++;
    return true;
}

static bool skip_string(struct text *t)
{
    if (!take(t, '"'))
        return false;
    for (; *t->at && *t->at != '"'; t->at++)
        if ((unsigned char)*t->at < 0x20 || (*t->at == '\\' && !*++t->at))
            return false;
    return take(t, '"');
}

typedef bool member_fn(void *arg, const char *key, size_t key_n, const char *value, size_t value_n);

static bool object(struct text *t, unsigned depth, member_fn *member, void *arg);

static bool skip_value(struct text *t, unsigned depth)
{
    blanks(t);
    if (*t->at == '"')
        return skip_string(t);
    if (*t->at == '{')
        return depth && object(t, depth - 1, NULL, NULL);
    size_t n = strspn(t->at, "-+.0123456789abcdefghijklmnopqrstuvwxyzE");
    t->at += n;
    return n > 0;
}

static bool object(struct text *t, unsigned depth, member_fn *member, void *arg)
{
    if (!take(t, '{'))
        return false;
    if (take(t, '}'))
        return true;
    do {
        blanks(t);
        const char *key = t->at + 1;
        if (!skip_string(t))
            return false;
        size_t key_n = (size_t)(t->at - 1 - key);
        if (!take(t, ':'))
            return false;
        blanks(t);
        const char *value = t->at;
        if (!skip_value(t, depth))
            return false;
        if (member && !member(arg, key, key_n, value, (size_t)(t->at - value)))
            return false;
    } while (take(t, ','));
    return take(t, '}');
}

/* --- a line into an event */

struct making {
    struct event *e;
    size_t key_n;
    bool read, lost;
};

static bool is(const char *s, size_t n, const char *word)
{
    return n == strlen(word) && !memcmp(s, word, n);
}

static bool add_member(void *arg, const char *key, size_t key_n, const char *value, size_t value_n)
{
    struct making *m = arg;
    struct event *e = m->e;
    if (is(key, key_n, "t") || is(key, key_n, "cpu") || is(key, key_n, "pc") || is(key, key_n, "at"))
        return true;
    m->lost |= is(key, key_n, "lost");
    m->read |= is(key, key_n, "op") && is(value, value_n, "\"R\"");
    if (is(key, key_n, "dev") || is(key, key_n, "space") || is(key, key_n, "reg") ||
        is(key, key_n, "offset") || is(key, key_n, "size")) {
        size_t n = strlen(e->reg);
        snprintf(e->reg + n, sizeof e->reg - n, "%.*s,", (int)value_n, value);
    }
    int n = snprintf(e->key + m->key_n, sizeof e->key - m->key_n, "%.*s:%.*s,", (int)key_n, key, (int)value_n,
                     value);
    if (n < 0 || (size_t)n >= sizeof e->key - m->key_n)
        return false;
    m->key_n += (size_t)n;
    return true;
}

/* Fills the event behind the window. false: the end, or trouble. */
static bool read_event(struct side *s)
{
    struct event *e = &s->window[(s->first + s->n) % (WINDOW + 1)];
    struct making m = {.e = e};
    struct text t = {e->raw};
    errno = 0;
    if (!fgets(e->raw, sizeof e->raw, s->file)) {
        s->over = true;
        return ferror(s->file) ? trouble(s, strerror(errno)) : false;
    }
    s->line++;
    e->line = s->line;
    e->key[0] = e->reg[0] = 0;
    size_t n = strlen(e->raw);
    if (n && e->raw[n - 1] == '\n')
        e->raw[n - 1] = 0;
    else
        return trouble(s, n == sizeof e->raw - 1 ? "the line is too long for a trace's"
                                                 : "the line has no end: is it all there?");
    if (!object(&t, 4, add_member, &m) || (blanks(&t), *t.at))
        return trouble(s, "no line of a trace (those of --trace-file are compared)");
    if (m.lost)
        return trouble(s, "lines of the trace were lost here; nothing beyond can be compared");
    e->read = m.read;
    return true;
}

static struct event *at(struct side *s, unsigned i)
{
    return &s->window[(s->first + i) % (WINDOW + 1)];
}

static bool same(const struct event *a, const struct event *b)
{
    return !strcmp(a->key, b->key);
}

/* The last `period` events are reads, and those before them over again. */
static bool repeats(struct side *s, unsigned period)
{
    if (s->n < 2 * period)
        return false;
    for (unsigned i = s->n - period; i < s->n; i++)
        if (!at(s, i)->read || !same(at(s, i), at(s, i - period)))
            return false;
    return true;
}

static void fill(struct side *s)
{
    while (!s->over && s->n < WINDOW && read_event(s)) {
        s->n++;
        for (unsigned period = 1; period <= TRACE_DIFF_PERIOD; period++) {
            if (repeats(s, period)) {
                s->n -= period;
                break;
            }
        }
    }
}

static void drop(struct side *s, unsigned n)
{
    s->first = (s->first + n) % (WINDOW + 1);
    s->n -= n;
    fill(s);
}

/* How many reads of one register to pass over until the value that the other side has; 0: it does not come. */
static unsigned poll_length(struct side *s, const struct event *other)
{
    for (unsigned i = 1; i < s->n && at(s, i - 1)->read && !strcmp(at(s, i - 1)->reg, at(s, i)->reg); i++)
        if (same(at(s, i), other))
            return i;
    return 0;
}

/* --- the comparison */

static void show(struct side *s, FILE *out)
{
    if (s->n)
        fprintf(out, "%s:%lu: %s\n", s->name, at(s, 0)->line, at(s, 0)->raw);
    else
        fprintf(out, "%s: ends\n", s->name);
}

static int compare(struct side *a, struct side *b, FILE *out)
{
    unsigned long common = 0;
    for (;;) {
        if ((a->trouble && !a->n) || (b->trouble && !b->n))
            return TRACE_DIFF_TROUBLE;
        if (!a->n && !b->n)
            return TRACE_DIFF_SAME;
        unsigned skip_a = a->n && b->n ? poll_length(a, at(b, 0)) : 0;
        unsigned skip_b = a->n && b->n ? poll_length(b, at(a, 0)) : 0;
        if (a->n && b->n && same(at(a, 0), at(b, 0))) {
            common++;
            drop(a, 1);
            drop(b, 1);
        } else if (skip_a) {
            drop(a, skip_a);
        } else if (skip_b) {
            drop(b, skip_b);
        } else {
            break;
        }
    }
    fprintf(out, "the first difference, after %lu events in common:\n", common);
    show(a, out);
    show(b, out);
    if (fflush(out) == EOF) {
        warn("trace-diff: standard output: %s", strerror(errno));
        return TRACE_DIFF_TROUBLE;
    }
    return TRACE_DIFF_DIFFERENT;
}

static bool open_side(struct side *s, const char *name)
{
    *s = (struct side){.name = name, .file = fopen(name, "re")};
    if (!s->file) {
        warn("trace-diff: %s: %s", name, strerror(errno));
        return false;
    }
    fill(s);
    return true;
}

int trace_diff(const char *a, const char *b, FILE *out)
{
    static struct side left, right; /* too large for a stack; one thread */
    int status = TRACE_DIFF_TROUBLE;
    if (open_side(&left, a)) {
        if (open_side(&right, b)) {
            status = compare(&left, &right, out);
            fclose(right.file);
        }
        fclose(left.file);
    }
    return status;
}
