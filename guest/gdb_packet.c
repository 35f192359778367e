// SPDX-License-Identifier: MIT
/* gdb's packets: `$contents#checksum`, in which } escapes the next byte (xor 0x20); outside of them + and - for "received" and
 * "again", and 0x03 for Ctrl-C. No run-length encoding: gdb sends none, and we need none. (Remote Serial Protocol, E.1) */
#include "gdb_priv.h"

#include <stdarg.h>
#include <string.h>

enum {
    OUTSIDE,
    INSIDE,
    FIRST_DIGIT,
    SECOND_DIGIT,
    ESCAPE = '}',
    ESCAPE_BIT = 0x20,
    CTRL_C = 3,
    TAIL = 3, /* #xx */
};

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static void inside(struct gdb_in *in, char c)
{
    in->sum = (uint8_t)(in->sum + (uint8_t)c);
    if (c == ESCAPE && !in->escaped) {
        in->escaped = true;
        return;
    }
    if (in->n == GDB_PACKET)
        in->too_long = true;
    else
        in->data[in->n++] = in->escaped ? (char)(c ^ ESCAPE_BIT) : c;
    in->escaped = false;
}

enum gdb_got gdb_in_byte(struct gdb_in *in, char c)
{
    switch (in->state) {
    case OUTSIDE:
        if (c == '$') {
            in->state = INSIDE;
            in->n = 0;
            in->sum = 0;
            in->escaped = in->too_long = false;
            return GDB_GOT_NOTHING;
        }
        return c == '+'      ? GDB_GOT_ACK
               : c == '-'    ? GDB_GOT_NAK
               : c == CTRL_C ? GDB_GOT_INTERRUPT
                             : GDB_GOT_GARBAGE;
    case INSIDE:
        if (c == '#')
            in->state = FIRST_DIGIT;
        else
            inside(in, c);
        return GDB_GOT_NOTHING;
    case FIRST_DIGIT:
        in->digit = (uint8_t)c;
        in->state = SECOND_DIGIT;
        return GDB_GOT_NOTHING;
    default:
        in->state = OUTSIDE;
        in->data[in->n] = 0;
        int high = hex_digit((char)in->digit), low = hex_digit(c);
        return high < 0 || low < 0 || high * 16 + low != in->sum || in->too_long ? GDB_GOT_BAD
                                                                                 : GDB_GOT_PACKET;
    }
}

/* --- out */

static size_t left(const struct gdb_out *out)
{
    return sizeof out->data - out->n > TAIL + 1 ? sizeof out->data - out->n - TAIL - 1 : 0;
}

void gdb_out_begin(struct gdb_out *out)
{
    if (out->sent == out->n)
        out->sent = out->n = 0;
    out->start = out->n;
    out->overflow = left(out) == 0;
    if (!out->overflow)
        out->data[out->n++] = '$';
}

static void put(struct gdb_out *out, char c)
{
    if (left(out) == 0)
        out->overflow = true;
    else
        out->data[out->n++] = c;
}

void gdb_out_bytes(struct gdb_out *out, const void *data, size_t n)
{
    for (const char *p = data; n; n--, p++) {
        bool special = *p == '$' || *p == '#' || *p == ESCAPE || *p == '*';
        if (special)
            put(out, ESCAPE);
        put(out, special ? (char)(*p ^ ESCAPE_BIT) : *p);
    }
}

void gdb_out_text(struct gdb_out *out, const char *text)
{
    gdb_out_bytes(out, text, strlen(text));
}

void gdb_out_print(struct gdb_out *out, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    gdb_out_text(out, text);
}

void gdb_out_hex(struct gdb_out *out, const void *data, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (const uint8_t *p = data; n; n--, p++) {
        put(out, digits[*p >> 4]);
        put(out, digits[*p & 15]);
    }
}

void gdb_out_end(struct gdb_out *out)
{
    uint8_t sum = 0;
    if (out->overflow) { /* nothing of it has been sent: nobody sends a packet in the making */
        out->n = out->start;
        if (sizeof out->data - out->n < sizeof "$E22#a9")
            return;
        memcpy(out->data + out->n, "$E22#a9", sizeof "$E22#a9" - 1);
        out->n += sizeof "$E22#a9" - 1;
        return;
    }
    for (size_t i = out->start + 1; i < out->n; i++)
        sum = (uint8_t)(sum + (uint8_t)out->data[i]);
    out->n += (size_t)snprintf(out->data + out->n, TAIL + 1, "#%02x", sum);
}

/* --- what packets are made of */

bool gdb_unhex(const char *text, size_t len, void *data, size_t max, size_t *n)
{
    uint8_t *bytes = data;
    if (len % 2 || len / 2 > max)
        return false;
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (uint8_t)(high * 16 + low);
    }
    *n = len / 2;
    return true;
}

bool gdb_number(const char **text, uint64_t *value)
{
    const char *p = *text;
    *value = 0;
    for (int d; (d = hex_digit(*p)) >= 0; p++) {
        if (*value >> 60)
            return false;
        *value = *value << 4 | (uint64_t)d;
    }
    bool any = p != *text;
    *text = p;
    return any;
}

bool gdb_addr_len(const char **text, uint64_t *addr, uint64_t *len, char end)
{
    if (!gdb_number(text, addr) || **text != ',')
        return false;
    ++*text;
    return gdb_number(text, len) && **text == end;
}
