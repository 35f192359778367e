// SPDX-License-Identifier: MIT
/* Lines of a trace: see include/guest/trace_line.h. Pieces are put into a buffer whole or not at all, so that a line that is too
 * long stays well-formed; its end has room set aside. */
#include "guest/trace_line.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

enum {
    TAIL = 8,  /* of the buffer: braces, the newline */
    CLOSE = 2, /* what ends a string or an object */
};

struct out {
    char *buf;
    size_t size, n;
};

/* A line of a trace has 20 such pieces, and vsnprintf() takes 800 instructions for each: so the few conversions needed are done here.
 * %s %.*s %c %u %x %lu %lx, with a width, with - and 0. */
static const char *number(char *end, uint64_t v, unsigned base)
{
    do
        *--end = "0123456789abcdef"[v % base];
    while (v /= base);
    return end;
}

static bool put_piece(struct out *o, const char *s, size_t n, size_t width, bool left, char fill)
{
    size_t pad = width > n ? width - n : 0;
    if (n + pad >= o->size - o->n)
        return false;
    char *to = o->buf + o->n;
    memset(left ? to + n : to, left ? ' ' : fill, pad);
    memcpy(left ? to : to + pad, s, n);
    o->n += n + pad;
    return true;
}

static bool put_all(struct out *o, const char *fmt, va_list ap)
{
    for (; *fmt; fmt++) {
        size_t n = (size_t)(strchrnul(fmt, '%') - fmt), width = 0;
        char digits[24], fill = ' ', c;
        const char *piece = digits;
        bool left = false, wide = false;
        if (n) {
            if (!put_piece(o, fmt, n, 0, false, ' '))
                return false;
            fmt += n - 1;
            continue;
        }
        if (*++fmt == '-')
            left = true, fmt++;
        else if (*fmt == '0')
            fill = '0', fmt++;
        for (; *fmt >= '0' && *fmt <= '9'; fmt++)
            width = width * 10 + (size_t)(*fmt - '0');
        size_t most = SIZE_MAX;
        if (*fmt == '.')
            most = (size_t)va_arg(ap, int), fmt += 2;
        if (*fmt == 'l')
            wide = true, fmt++;
        switch (*fmt) {
        case 's':
            piece = va_arg(ap, const char *);
            n = strnlen(piece, most);
            break;
        case 'c':
            c = (char)va_arg(ap, int);
            piece = &c;
            n = 1;
            break;
        default: /* u, x */
            piece = number(digits + sizeof digits, wide ? va_arg(ap, unsigned long) : va_arg(ap, unsigned),
                           *fmt == 'x' ? 16 : 10);
            n = (size_t)(digits + sizeof digits - piece);
        }
        if (!put_piece(o, piece, n, width, left, fill))
            return false;
    }
    return true;
}

static __attribute__((format(printf, 2, 3))) bool put(struct out *o, const char *fmt, ...)
{
    va_list ap;
    size_t start = o->n;
    va_start(ap, fmt);
    bool ok = put_all(o, fmt, ap);
    va_end(ap);
    if (!ok)
        o->n = start;
    o->buf[o->n] = 0;
    return ok;
}

static struct out begin(char *buf, size_t size)
{
    return (struct out){buf, size - TAIL, 0};
}

static size_t end(struct out *o, const char *tail)
{
    o->size += TAIL;
    put(o, "%s\n", tail);
    return o->n;
}

/* --- what both forms say */

static const char *name_of(const struct watch_event *e, char *buf, size_t size)
{
    return e->reg->count > 1 ? reg_name_text(e->reg, e->index, buf, size) : e->reg->name;
}

/* Where in its register a narrow access begins, in bytes. */
static unsigned lane(const struct watch_event *e)
{
    const struct reg *r = e->reg;
    uint64_t stride = r->stride ? r->stride : r->width;
    uint64_t first = r->offset + e->index * stride;
    /* a configuration register's offset may be that in its capability */
    return e->kind == WATCH_CONFIG || e->offset < first || e->offset - first >= r->width
               ? 0
               : (unsigned)(e->offset - first);
}

static uint64_t in_register(const struct watch_event *e)
{
    return e->value << lane(e) * 8;
}

static const char *direction(const struct watch_event *e)
{
    return e->write ? "W" : "R";
}

static bool is_access(const struct watch_event *e)
{
    return e->kind == WATCH_REG || e->kind == WATCH_REFUSED || e->kind == WATCH_CONFIG;
}

static bool is_faulty_access(const struct watch_event *e)
{
    return e->kind == WATCH_FAULT && e->size;
}

static const char *op_of(const struct watch_event *e)
{
    static const char *const ops[WATCH_KINDS] = {
        [WATCH_DMA] = "dma",     [WATCH_IRQ] = "irq",     [WATCH_DROP] = "drop",
        [WATCH_LINT] = "misuse", [WATCH_RESET] = "reset", [WATCH_FAULT] = "fault",
    };
    return ops[e->kind] ? ops[e->kind] : direction(e);
}

/* --- in words */

/* "W STATUS+1/1=5" */
static void text_words(struct out *o, const struct watch_event *e)
{
    char name[64];
    put(o, " %s%s ", e->kind == WATCH_CONFIG ? "config " : "", direction(e));
    if (e->reg) {
        put(o, "%s", name_of(e, name, sizeof name));
        if (lane(e))
            put(o, "+%u", lane(e));
        if (e->size != e->reg->width)
            put(o, "/%u", e->size);
    } else {
        put(o, "0x%" PRIx64 "/%u", e->offset, e->size);
    }
    if (e->kind != WATCH_REFUSED || e->write)
        put(o, e->value < 10 ? "=%" PRIu64 : "=0x%" PRIx64, e->value);
}

static void text_access(struct out *o, const struct trace_line *l)
{
    const struct watch_event *e = l->e;
    char bits[256];
    text_words(o, e);
    if (e->reg && e->reg->bits && *reg_bits_text(e->reg, in_register(e), bits, sizeof bits))
        put(o, " %s", bits);
    if (e->kind == WATCH_REFUSED)
        put(o, " refused: %s", e->text);
    if (l->led)
        put(o, " (%s)", l->led);
}

static void text_event(struct out *o, const struct trace_line *l)
{
    const struct watch_event *e = l->e;
    put(o, " %s", l->dev->id);
    if (is_access(e)) {
        text_access(o, l);
    } else if (e->kind == WATCH_DMA) {
        put(o, " dma %s 0x%" PRIx64 "+%" PRIu64, direction(e), e->offset, e->len);
        if (e->text)
            put(o, " refused: %s", e->text);
    } else if (e->kind == WATCH_IRQ) {
        put(o, " IRQ");
        if (l->led)
            put(o, " %s", l->led);
        put(o, " -> %s", e->text);
    } else if (e->kind == WATCH_DROP) {
        put(o, " %s", e->text); /* "rx drop: RCTL.EN=0" */
    } else {
        put(o, e->text ? " %s: %s" : " %s", op_of(e), e->text);
        if (is_faulty_access(e)) {
            put(o, ":");
            text_words(o, e);
        }
    }
}

size_t trace_text(const struct trace_line *l, char *buf, size_t size)
{
    struct out o = begin(buf, size);
    put(&o, "%5" PRIu64 ".%06" PRIu64, l->time / 1000000000u, l->time / 1000 % 1000000);
    if (l->has_cpu) {
        put(&o, " cpu%-2u 0x%-16" PRIx64, l->cpu, l->pc);
        if (l->at && *l->at)
            put(&o, " %s", l->at);
    } else {
        put(&o, " %-5s %-18s", "-", "-");
    }
    if (l->dev)
        text_event(&o, l);
    else
        put(&o, " %s %s", l->op, l->text);
    return end(&o, "");
}

size_t trace_again_text(uint64_t time, uint64_t times, char *buf, size_t size)
{
    struct out o = begin(buf, size);
    put(&o, "%5" PRIu64 ".%06" PRIu64 " -     -                  the same %" PRIu64 " times more",
        time / 1000000000u, time / 1000 % 1000000, times);
    return end(&o, "");
}

size_t trace_lost_text(uint64_t n, char *buf, size_t size)
{
    struct out o = begin(buf, size);
    put(&o, "(%" PRIu64 " lines lost: nobody took them in time)", n);
    return end(&o, "");
}

/* --- as JSON (RFC 8259) */

/* Bytes of the character that begins here, by UTF-8's rules (RFC 3629, 4); 0: none does. */
static unsigned utf8(const unsigned char *s)
{
    static const struct {
        unsigned char first, last, low, high; /* of the first byte; of the second */
        unsigned length;
    } rows[] = {
        {0xc2, 0xdf, 0x80, 0xbf, 2},
        {0xe0, 0xe0, 0xa0, 0xbf, 3},
        {0xe1, 0xec, 0x80, 0xbf, 3},
        {0xed, 0xed, 0x80, 0x9f, 3},
        {0xee, 0xef, 0x80, 0xbf, 3},
        {0xf0, 0xf0, 0x90, 0xbf, 4},
        {0xf1, 0xf3, 0x80, 0xbf, 4},
        {0xf4, 0xf4, 0x80, 0x8f, 4},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (*s < rows[i].first || *s > rows[i].last)
            continue;
        if (s[1] < rows[i].low || s[1] > rows[i].high)
            return 0;
        for (unsigned k = 2; k < rows[i].length; k++)
            if (s[k] < 0x80 || s[k] > 0xbf)
                return 0;
        return rows[i].length;
    }
    return 0;
}

/* `,"key":"text"`, the text cut where there is no room for more. */
static void put_string(struct out *o, const char *key, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t start = o->n;
    if (o->size - o->n <= CLOSE)
        return;
    o->size -= CLOSE;
    bool ok = put(o, ",\"%s\":\"", key);
    bool begun = ok;
    while (ok && *s) {
        unsigned n = 0;
        while (s[n] >= 0x20 && s[n] < 0x7f && s[n] != '"' && s[n] != '\\')
            n++;
        if (n && put(o, "%.*s", (int)n, (const char *)s)) {
            s += n;
            continue;
        }
        n = 1; /* character by character: what is special, or the last that fit */
        if (*s == '"' || *s == '\\')
            ok = put(o, "\\%c", *s);
        else if (*s < 0x20 || *s == 0x7f)
            ok = put(o, "\\u%04x", *s);
        else if (*s < 0x80)
            ok = put(o, "%c", *s);
        else if ((n = utf8(s)))
            ok = put(o, "%.*s", (int)n, (const char *)s);
        else
            ok = put(o, "\\ufffd"), n = 1;
        s += n;
    }
    o->size += CLOSE;
    if (begun)
        put(o, "\"");
    else
        o->buf[o->n = start] = 0;
}

static void json_bits(struct out *o, const struct watch_event *e)
{
    const char *comma = "";
    if (!e->reg->bits || o->size - o->n <= CLOSE)
        return;
    o->size -= CLOSE;
    bool begun = put(o, ",\"bits\":{");
    for (const struct reg_bits *b = e->reg->bits; begun && b->name; b++) {
        uint64_t v = in_register(e) >> b->low & (UINT64_MAX >> (64 - (b->width ? b->width : 1)));
        if (!v)
            continue;
        if (!put(o, "%s\"%s\":%" PRIu64, comma, b->name, v))
            break;
        comma = ",";
    }
    o->size += CLOSE;
    if (begun)
        put(o, "}");
}

static void json_words(struct out *o, const struct watch_event *e)
{
    char name[64];
    if (e->reg)
        put_string(o, "reg", name_of(e, name, sizeof name));
    if (!e->reg || lane(e))
        put(o, ",\"offset\":%" PRIu64, e->reg ? lane(e) : e->offset);
    put(o, ",\"size\":%u", e->size);
    if (e->kind != WATCH_REFUSED || e->write)
        put(o, ",\"value\":\"0x%" PRIx64 "\"", e->value);
}

static void json_access(struct out *o, const struct trace_line *l)
{
    const struct watch_event *e = l->e;
    if (e->kind == WATCH_CONFIG)
        put(o, ",\"space\":\"config\"");
    json_words(o, e);
    if (e->reg)
        json_bits(o, e);
    if (e->kind == WATCH_REFUSED)
        put_string(o, "error", e->text);
    if (l->led)
        put_string(o, "led", l->led);
}

size_t trace_json(const struct trace_line *l, char *buf, size_t size)
{
    struct out o = begin(buf, size);
    const struct watch_event *e = l->e;
    put(&o, "{\"t\":%" PRIu64, l->time);
    if (l->has_cpu)
        put(&o, ",\"cpu\":%u,\"pc\":\"0x%" PRIx64 "\"", l->cpu, l->pc);
    if (l->has_cpu && l->at && *l->at)
        put_string(&o, "at", l->at);
    if (!l->dev) {
        put_string(&o, "op", l->op);
        put_string(&o, "text", l->text);
        return end(&o, "}");
    }
    put_string(&o, "dev", l->dev->id);
    put_string(&o, "class", l->dev->class->name);
    put_string(&o, "op", op_of(e));
    if (is_access(e)) {
        json_access(&o, l);
    } else if (e->kind == WATCH_DMA) {
        put(&o, ",\"dir\":\"%s\",\"addr\":\"0x%" PRIx64 "\",\"len\":%" PRIu64, direction(e), e->offset,
            e->len);
        if (e->text)
            put_string(&o, "error", e->text);
    } else if (e->kind == WATCH_IRQ) {
        put(&o, ",\"up\":%s", e->write ? "true" : "false");
        if (l->led)
            put_string(&o, "cause", l->led);
        put_string(&o, "led", e->text);
    } else if (e->text) {
        put_string(&o, "text", e->text);
        if (is_faulty_access(e)) {
            put_string(&o, "dir", direction(e));
            json_words(&o, e);
        }
    }
    return end(&o, "}");
}

size_t trace_lost_json(uint64_t n, char *buf, size_t size)
{
    struct out o = begin(buf, size);
    put(&o, "{\"lost\":%" PRIu64, n);
    return end(&o, "}");
}
