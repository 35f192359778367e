/* SPDX-License-Identifier: MIT
 *
 * A small encoder of AML, ACPI's byte code: just what guest/acpi.c needs. A term is appended by a call; a
 * term that contains others (scope, device, method, if, package, buffer) is opened, filled and closed:
 *
 *     aml_device(&a, "COM1");
 *         aml_name_eisa(&a, "_HID", "PNP0501");
 *     aml_end(&a);
 *
 * Lengths are encoded in the fewest bytes, as iasl does, so that a table survives disassembly and compilation
 * unchanged. No allocation, no state outside struct aml. Too many bytes or too deep nesting sets `full`, and
 * the rest is dropped: check it once, at the end.
 *
 * Source: ACPI 6.3, 20.2 "AML Grammar Definition", 6.4 "Resource Data Types".
 */
#ifndef GUEST_AML_H
#define GUEST_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AML_DEPTH = 8
};

struct aml {
    uint8_t *buf;
    size_t len, max;
    bool full;
    unsigned depth;
    struct {
        size_t start; /* of the content, where the length is to be put */
        bool buffer;  /* the content's own size goes in front of it, too */
    } open[AML_DEPTH];
};

/* One-byte opcodes that stand alone or are followed by terms; put with aml_op(). */
enum aml_op {
    AML_ZERO = 0x00,
    AML_ONE = 0x01,
    AML_ARG0 = 0x68,
    AML_ARG1 = 0x69,
    AML_ARG3 = 0x6b,
    AML_OR = 0x7d,           /* a, b, target */
    AML_CREATE_DWORD = 0x8a, /* buffer, byte index, name */
    AML_LNOT = 0x92,
    AML_LEQUAL = 0x93, /* a, b */
    AML_RETURN = 0xa4,
};

void aml_init(struct aml *a, uint8_t *buf, size_t max);
void aml_bytes(struct aml *a, const void *bytes, size_t n);
void aml_op(struct aml *a, enum aml_op op);
void aml_path(struct aml *a, const char *path); /* "\\_SB", "_SB.PCI0", "COM1": segments of 1-4 characters */
void aml_int(struct aml *a, uint64_t value);
void aml_string(struct aml *a, const char *s);
void aml_eisa(struct aml *a, const char *id);   /* "PNP0A08" */
void aml_uuid(struct aml *a, const char *uuid); /* as ToUUID(): a 16-byte buffer */

void aml_name(struct aml *a, const char *name); /* Name (name, <next term>) */
void aml_name_int(struct aml *a, const char *name, uint64_t value);
void aml_name_eisa(struct aml *a, const char *name, const char *id);
void aml_name_string(struct aml *a, const char *name, const char *s);

/* Opened; each needs its aml_end(). */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *name);
void aml_method(struct aml *a, const char *name, unsigned args, bool serialized);
void aml_if(struct aml *a); /* followed by the predicate */
void aml_package(struct aml *a, uint8_t elements);
void aml_buffer(struct aml *a);
void aml_end(struct aml *a);

/* Resource templates: a buffer of descriptors, closed by aml_resources_end(). Ranges are inclusive. */
void aml_resources(struct aml *a);
void aml_resources_end(struct aml *a);
void aml_res_io(struct aml *a, uint16_t port, uint8_t len); /* IO (Decode16, port, port, 1, len) */
void aml_res_irq(struct aml *a, unsigned irq);              /* IRQNoFlags: edge, active high, exclusive */
void aml_res_memory(struct aml *a, uint32_t base, uint32_t size); /* Memory32Fixed (ReadWrite) */
/* Windows that a bridge passes on (ResourceProducer, both ends fixed, positive decode). */
void aml_res_bus_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_io_window(struct aml *a, uint16_t first, uint16_t last);
void aml_res_memory_window32(struct aml *a, uint32_t first, uint32_t last);
void aml_res_memory_window64(struct aml *a, uint64_t first, uint64_t last);

#endif
