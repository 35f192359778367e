// SPDX-License-Identifier: MIT
/* The AML encoder: see include/guest/aml.h. A length stands in front of what it counts and its own size
 * depends on its value, so an opened term remembers where its content begins, and aml_end() moves the content
 * up by what the length takes. Tables are small and made once; that is cheaper than a tree of terms. */
#include "guest/aml.h"

#include <string.h>

enum {
    OP_NAME = 0x08,
    OP_BYTE = 0x0a,
    OP_WORD = 0x0b,
    OP_DWORD = 0x0c,
    OP_STRING = 0x0d,
    OP_QWORD = 0x0e,
    OP_SCOPE = 0x10,
    OP_BUFFER = 0x11,
    OP_PACKAGE = 0x12,
    OP_METHOD = 0x14,
    OP_DUAL_NAME = 0x2e,
    OP_MULTI_NAME = 0x2f,
    OP_EXT = 0x5b,
    OP_EXT_DEVICE = 0x82,
    OP_IF = 0xa0,
    METHOD_SERIALIZED = 0x08,
};

void aml_init(struct aml *a, uint8_t *buf, size_t max)
{
    *a = (struct aml){.buf = buf, .max = max};
}

void aml_bytes(struct aml *a, const void *bytes, size_t n)
{
    if (a->full || n > a->max - a->len) {
        a->full = true;
        return;
    }
    memcpy(a->buf + a->len, bytes, n);
    a->len += n;
}

static void put(struct aml *a, uint64_t value, size_t size)
{
    uint8_t le[8];
    for (size_t i = 0; i < size; i++)
        le[i] = (uint8_t)(value >> (8 * i));
    aml_bytes(a, le, size);
}

/* Makes room for bytes at `at`, by moving up what stands there. */
static void insert(struct aml *a, size_t at, const uint8_t *bytes, size_t n)
{
    if (a->full || n > a->max - a->len) {
        a->full = true;
        return;
    }
    memmove(a->buf + at + n, a->buf + at, a->len - at);
    memcpy(a->buf + at, bytes, n);
    a->len += n;
}

/* An integer in the fewest bytes (20.2.3 ComputationalData); at most 9. */
static size_t encode_int(uint64_t value, uint8_t out[9])
{
    static const struct {
        uint64_t max;
        uint8_t op;
        size_t size;
    } forms[] = {
        {0xff,       OP_BYTE,  1},
        {0xffff,     OP_WORD,  2},
        {0xffffffff, OP_DWORD, 4},
        {UINT64_MAX, OP_QWORD, 8}
    };
    size_t f = 0;
    if (value <= 1) {
        out[0] = value ? AML_ONE : AML_ZERO;
        return 1;
    }
    while (value > forms[f].max)
        f++;
    out[0] = forms[f].op;
    for (size_t i = 0; i < forms[f].size; i++)
        out[1 + i] = (uint8_t)(value >> (8 * i));
    return 1 + forms[f].size;
}

/* PkgLength (20.2.4): counts itself; one byte for up to 63, else 4 bits in the first byte and 8 in each
 * further one. */
static size_t encode_length(size_t content, uint8_t out[9])
{
    if (content + 1 < 0x40) {
        out[0] = (uint8_t)(content + 1);
        return 1;
    }
    size_t follow = content + 2 < 1u << 12 ? 1 : content + 3 < 1u << 20 ? 2 : 3;
    size_t total = content + 1 + follow;
    out[0] = (uint8_t)(follow << 6 | (total & 0xf));
    for (size_t i = 0; i < follow; i++)
        out[1 + i] = (uint8_t)(total >> (4 + 8 * i));
    return 1 + follow;
}

static void begin(struct aml *a, bool buffer)
{
    if (a->full || a->depth == AML_DEPTH) {
        a->full = true;
        return;
    }
    a->open[a->depth].start = a->len;
    a->open[a->depth++].buffer = buffer;
}

void aml_end(struct aml *a)
{
    uint8_t code[9];
    if (a->full || a->depth == 0) {
        a->full = true;
        return;
    }
    size_t start = a->open[--a->depth].start;
    size_t n;
    if (a->open[a->depth].buffer) {
        n = encode_int(a->len - start, code);
        insert(a, start, code, n);
    }
    n = encode_length(a->len - start, code);
    insert(a, start, code, n);
}

void aml_op(struct aml *a, enum aml_op op)
{
    put(a, op, 1);
}

void aml_path(struct aml *a, const char *path)
{
    if (*path == '\\') {
        put(a, '\\', 1);
        path++;
    }
    size_t segments = 1;
    for (const char *c = path; *c; c++)
        segments += *c == '.';
    if (segments == 2)
        put(a, OP_DUAL_NAME, 1);
    if (segments > 2)
        put(a, OP_MULTI_NAME | segments << 8, 2);
    for (; segments; segments--) {
        char seg[4] = {'_', '_', '_', '_'}; /* shorter ones are filled up */
        size_t n = strcspn(path, ".");
        memcpy(seg, path, n < 4 ? n : 4);
        aml_bytes(a, seg, 4);
        path += n + (path[n] == '.');
    }
}

void aml_int(struct aml *a, uint64_t value)
{
    uint8_t code[9];
    size_t n = encode_int(value, code);
    aml_bytes(a, code, n);
}

void aml_string(struct aml *a, const char *s)
{
    put(a, OP_STRING, 1);
    aml_bytes(a, s, strlen(s) + 1);
}

static unsigned hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

/* Three letters of five bits, four hexadecimal digits, big-endian (19.6.37). */
void aml_eisa(struct aml *a, const char *id)
{
    uint32_t v = 0;
    for (int i = 0; i < 3; i++)
        v = v << 5 | (uint32_t)(id[i] - '@');
    for (int i = 3; i < 7; i++)
        v = v << 4 | hex(id[i]);
    put(a, OP_DWORD, 1);
    put(a, __builtin_bswap32(v), 4);
}

/* The first three groups are stored low byte first (19.6.142). */
void aml_uuid(struct aml *a, const char *uuid)
{
    static const uint8_t at[16] = {6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34};
    aml_buffer(a);
    for (int i = 0; i < 16; i++)
        put(a, hex(uuid[at[i]]) << 4 | hex(uuid[at[i] + 1]), 1);
    aml_end(a);
}

void aml_name(struct aml *a, const char *name)
{
    put(a, OP_NAME, 1);
    aml_path(a, name);
}

void aml_name_int(struct aml *a, const char *name, uint64_t value)
{
    aml_name(a, name);
    aml_int(a, value);
}

void aml_name_eisa(struct aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_eisa(a, id);
}

void aml_name_string(struct aml *a, const char *name, const char *s)
{
    aml_name(a, name);
    aml_string(a, s);
}

void aml_scope(struct aml *a, const char *path)
{
    put(a, OP_SCOPE, 1);
    begin(a, false);
    aml_path(a, path);
}

void aml_device(struct aml *a, const char *name)
{
    put(a, OP_EXT | OP_EXT_DEVICE << 8, 2);
    begin(a, false);
    aml_path(a, name);
}

void aml_method(struct aml *a, const char *name, unsigned args, bool serialized)
{
    put(a, OP_METHOD, 1);
    begin(a, false);
    aml_path(a, name);
    put(a, args | (serialized ? METHOD_SERIALIZED : 0), 1);
}

void aml_if(struct aml *a)
{
    put(a, OP_IF, 1);
    begin(a, false);
}

void aml_package(struct aml *a, uint8_t elements)
{
    put(a, OP_PACKAGE, 1);
    begin(a, false);
    put(a, elements, 1);
}

void aml_buffer(struct aml *a)
{
    put(a, OP_BUFFER, 1);
    begin(a, true);
}

/* --- resource descriptors (6.4) */

enum {
    RES_IRQ = 0x22, /* small items: type and length in one byte */
    RES_IO = 0x47,
    RES_END = 0x79,
    RES_MEMORY32_FIXED = 0x86, /* large items: type, then a 16-bit length */
    RES_DWORD_SPACE = 0x87,
    RES_WORD_SPACE = 0x88,
    RES_QWORD_SPACE = 0x8a,
    SPACE_MEMORY = 0,
    SPACE_IO = 1,
    SPACE_BUS = 2,
    SPACE_FIXED = 0x0c, /* both ends are fixed; positive decode, producer */
    MEMORY_READ_WRITE = 0x01,
    IO_ENTIRE_RANGE = 0x03,
};

void aml_resources(struct aml *a)
{
    aml_buffer(a);
}

void aml_resources_end(struct aml *a)
{
    put(a, RES_END, 2); /* checksum 0: not used */
    aml_end(a);
}

void aml_res_io(struct aml *a, uint16_t port, uint8_t len)
{
    put(a, RES_IO | 1 << 8, 2); /* 16-bit decode */
    put(a, port, 2);
    put(a, port, 2);
    put(a, 1, 1); /* alignment */
    put(a, len, 1);
}

void aml_res_irq(struct aml *a, unsigned irq)
{
    put(a, RES_IRQ, 1);
    put(a, 1u << irq, 2);
}

void aml_res_memory(struct aml *a, uint32_t base, uint32_t size)
{
    put(a, RES_MEMORY32_FIXED, 1);
    put(a, 9, 2);
    put(a, MEMORY_READ_WRITE, 1);
    put(a, base, 4);
    put(a, size, 4);
}

/* The address space descriptors (6.4.3.5) differ only in the width of their five numbers. */
static void window(struct aml *a, uint8_t item, size_t width, uint8_t space, uint8_t flags, uint64_t first,
                   uint64_t last)
{
    put(a, item, 1);
    put(a, 3 + 5 * width, 2);
    put(a, space, 1);
    put(a, SPACE_FIXED, 1);
    put(a, flags, 1);
    put(a, 0, width); /* granularity */
    put(a, first, width);
    put(a, last, width);
    put(a, 0, width); /* translation */
    put(a, last - first + 1, width);
}

void aml_res_bus_window(struct aml *a, uint16_t first, uint16_t last)
{
    window(a, RES_WORD_SPACE, 2, SPACE_BUS, 0, first, last);
}

void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last)
{
    window(a, RES_WORD_SPACE, 2, SPACE_IO, IO_ENTIRE_RANGE, first, last);
}

void aml_res_memory_window32(struct aml *a, uint32_t first, uint32_t last)
{
    window(a, RES_DWORD_SPACE, 4, SPACE_MEMORY, MEMORY_READ_WRITE, first, last);
}

void aml_res_memory_window64(struct aml *a, uint64_t first, uint64_t last)
{
    window(a, RES_QWORD_SPACE, 8, SPACE_MEMORY, MEMORY_READ_WRITE, first, last);
}
