// SPDX-License-Identifier: MIT
/* Registers as gdb numbers them. One table for each of the two descriptions, from which the XML, the `g` packet and the numbers
 * of `p` come. gdb's own features come first, in the order and with the names that it insists on; control registers and
 * the bases are a feature of ours, which it shows as they are.
 *
 * Source: "Debugging with GDB", G.5.22 (i386 features). */
#include "gdb_priv.h"

#include <string.h>

enum feature {
    CORE,
    SSE,
    SEGMENTS,
    SYSTEM,
};
static const char *const feature_names[] = {
    [CORE] = "org.gnu.gdb.i386.core",
    [SSE] = "org.gnu.gdb.i386.sse",
    [SEGMENTS] = "org.gnu.gdb.i386.segments",
    [SYSTEM] = "org.vmlet.x86.system",
};

/* Types that a feature declares before its registers. A flag is {name, lowest bit, highest bit}. */
struct flag {
    const char *name;
    uint8_t low, high;
};
static const struct flag eflags[] = {
    {"CF", 0,  0 },
    {"",   1,  1 },
    {"PF", 2,  2 },
    {"AF", 4,  4 },
    {"ZF", 6,  6 },
    {"SF", 7,  7 },
    {"TF", 8,  8 },
    {"IF", 9,  9 },
    {"DF", 10, 10},
    {"OF", 11, 11},
    {"NT", 14, 14},
    {"RF", 16, 16},
    {"VM", 17, 17},
    {"AC", 18, 18},
    {"ID", 21, 21},
    {NULL, 0,  0 }
};
static const struct flag cr0[] = {
    {"PE", 0,  0 },
    {"MP", 1,  1 },
    {"EM", 2,  2 },
    {"TS", 3,  3 },
    {"ET", 4,  4 },
    {"NE", 5,  5 },
    {"WP", 16, 16},
    {"AM", 18, 18},
    {"NW", 29, 29},
    {"CD", 30, 30},
    {"PG", 31, 31},
    {NULL, 0,  0 }
};
static const struct flag cr4[] = {
    {"VME",        0,  0 },
    {"PVI",        1,  1 },
    {"TSD",        2,  2 },
    {"DE",         3,  3 },
    {"PSE",        4,  4 },
    {"PAE",        5,  5 },
    {"MCE",        6,  6 },
    {"PGE",        7,  7 },
    {"PCE",        8,  8 },
    {"OSFXSR",     9,  9 },
    {"OSXMMEXCPT", 10, 10},
    {"UMIP",       11, 11},
    {"LA57",       12, 12},
    {"FSGSBASE",   16, 16},
    {"PCIDE",      17, 17},
    {"OSXSAVE",    18, 18},
    {"SMEP",       20, 20},
    {"SMAP",       21, 21},
    {"PKE",        22, 22},
    {NULL,         0,  0 }
};
static const struct flag efer[] = {
    {"SCE", 0,  0 },
    {"LME", 8,  8 },
    {"LMA", 10, 10},
    {"NXE", 11, 11},
    {NULL,  0,  0 }
};

static const struct {
    const char *id;
    enum feature feature;
    const struct flag *flags;
} flag_types[] = {
    {"i386_eflags", CORE,   eflags},
    {"vmlet_cr0",   SYSTEM, cr0   },
    {"vmlet_cr4",   SYSTEM, cr4   },
    {"vmlet_efer",  SYSTEM, efer  },
};

struct reg_row {
    const char *name, *type;
    uint8_t feature;
    uint8_t bytes;  /* as gdb sees it */
    uint8_t stored; /* in struct vcpu_regs */
    bool fixed;
    uint16_t offset;
};
#define ROW(name_, type_, feature_, bytes_, member_)                                                         \
    {                                                                                                        \
        .name = (name_), .type = (type_), .feature = (feature_), .bytes = (bytes_),                          \
        .stored = sizeof(((struct vcpu_regs *)0)->member_), .offset = offsetof(struct vcpu_regs, member_)    \
    }
#define SEGMENT(name_)                                                                                       \
    {                                                                                                        \
        .name = #name_, .type = "int32", .feature = CORE, .bytes = 4, .stored = 4, .fixed = true,            \
        .offset = offsetof(struct vcpu_regs, name_)                                                          \
    }
#define ST(n_)                            ROW("st" #n_, "i387_ext", CORE, 10, st[n_])
#define X87(name_)                        ROW(#name_, "int", CORE, 4, name_)
#define XMM(n_)                           ROW("xmm" #n_, "vec128", SSE, 16, xmm[n_])
#define WIDE(name_)                       ROW(#name_, "int64", CORE, 8, name_)
#define WIDE_SYSTEM(name_, type_, bytes_) ROW(#name_, type_, SYSTEM, bytes_, name_)

#define FLOATING                                                                                             \
    SEGMENT(cs), SEGMENT(ss), SEGMENT(ds), SEGMENT(es), SEGMENT(fs), SEGMENT(gs), ST(0), ST(1), ST(2),       \
        ST(3), ST(4), ST(5), ST(6), ST(7), X87(fctrl), X87(fstat), X87(ftag), X87(fiseg), X87(fioff),        \
        X87(foseg), X87(fooff), X87(fop), XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7)
#define MXCSR ROW("mxcsr", "int", SSE, 4, mxcsr)

static const struct reg_row rows64[] = {
    WIDE(rax),
    WIDE(rbx),
    WIDE(rcx),
    WIDE(rdx),
    WIDE(rsi),
    WIDE(rdi),
    ROW("rbp", "data_ptr", CORE, 8, rbp),
    ROW("rsp", "data_ptr", CORE, 8, rsp),
    WIDE(r8),
    WIDE(r9),
    WIDE(r10),
    WIDE(r11),
    WIDE(r12),
    WIDE(r13),
    WIDE(r14),
    WIDE(r15),
    ROW("rip", "code_ptr", CORE, 8, rip),
    ROW("eflags", "i386_eflags", CORE, 4, rflags),
    FLOATING,
    XMM(8),
    XMM(9),
    XMM(10),
    XMM(11),
    XMM(12),
    XMM(13),
    XMM(14),
    XMM(15),
    MXCSR,
    ROW("fs_base", "int64", SEGMENTS, 8, fs_base),
    ROW("gs_base", "int64", SEGMENTS, 8, gs_base),
    WIDE_SYSTEM(k_gs_base, "int64", 8),
    WIDE_SYSTEM(cr0, "vmlet_cr0", 8),
    WIDE_SYSTEM(cr2, "int64", 8),
    WIDE_SYSTEM(cr3, "int64", 8),
    WIDE_SYSTEM(cr4, "vmlet_cr4", 8),
    WIDE_SYSTEM(cr8, "int64", 8),
    WIDE_SYSTEM(efer, "vmlet_efer", 8),
};
/* Here gdb has ecx and edx before ebx, and esp before ebp. */
static const struct reg_row rows32[] = {
    ROW("eax", "int32", CORE, 4, rax),
    ROW("ecx", "int32", CORE, 4, rcx),
    ROW("edx", "int32", CORE, 4, rdx),
    ROW("ebx", "int32", CORE, 4, rbx),
    ROW("esp", "data_ptr", CORE, 4, rsp),
    ROW("ebp", "data_ptr", CORE, 4, rbp),
    ROW("esi", "int32", CORE, 4, rsi),
    ROW("edi", "int32", CORE, 4, rdi),
    ROW("eip", "code_ptr", CORE, 4, rip),
    ROW("eflags", "i386_eflags", CORE, 4, rflags),
    FLOATING,
    MXCSR,
    WIDE_SYSTEM(fs_base, "int32", 4),
    WIDE_SYSTEM(gs_base, "int32", 4),
    WIDE_SYSTEM(cr0, "vmlet_cr0", 4),
    WIDE_SYSTEM(cr2, "int32", 4),
    WIDE_SYSTEM(cr3, "int32", 4),
    WIDE_SYSTEM(cr4, "vmlet_cr4", 4),
    WIDE_SYSTEM(efer, "vmlet_efer", 4),
};

struct gdb_arch {
    const char *name;
    const struct reg_row *rows;
    unsigned n, word;
};
static const struct gdb_arch arch64 = {"i386:x86-64", rows64, sizeof rows64 / sizeof *rows64, 8};
static const struct gdb_arch arch32 = {"i386", rows32, sizeof rows32 / sizeof *rows32, 4};

const struct gdb_arch *gdb_arch(bool wide)
{
    return wide ? &arch64 : &arch32;
}

unsigned gdb_arch_count(const struct gdb_arch *arch)
{
    return arch->n;
}

unsigned gdb_reg_get(const struct gdb_arch *arch, unsigned i, const struct vcpu_regs *regs, void *bytes)
{
    if (i >= arch->n)
        return 0;
    const struct reg_row *r = &arch->rows[i];
    unsigned n = r->bytes < r->stored ? r->bytes : r->stored;
    memset(bytes, 0, r->bytes);
    memcpy(bytes, (const char *)regs + r->offset, n);
    return r->bytes;
}

unsigned gdb_reg_set(const struct gdb_arch *arch, unsigned i, struct vcpu_regs *regs, const void *bytes)
{
    if (i >= arch->n)
        return 0;
    const struct reg_row *r = &arch->rows[i];
    unsigned n = r->bytes < r->stored ? r->bytes : r->stored;
    memcpy((char *)regs + r->offset, bytes, n);
    return r->bytes;
}

bool gdb_reg_fixed(const struct gdb_arch *arch, unsigned i)
{
    return i < arch->n && arch->rows[i].fixed;
}

/* --- the description */

static void put_flags(FILE *out, const char *id, unsigned size, const struct flag *f)
{
    fprintf(out, "<flags id=\"%s\" size=\"%u\">", id, size);
    for (; f->name; f++)
        fprintf(out, "<field name=\"%s\" start=\"%u\" end=\"%u\"/>", f->name, f->low, f->high);
    fputs("</flags>", out);
}

/* What an SSE register may be looked at as: gdb's names for it. */
static void put_vectors(FILE *out)
{
    static const struct {
        const char *id, *type, *field;
        unsigned count;
    } views[] = {
        {"v4f",   "ieee_single", "v4_float",  4 },
        {"v2d",   "ieee_double", "v2_double", 2 },
        {"v16i8", "int8",        "v16_int8",  16},
        {"v8i16", "int16",       "v8_int16",  8 },
        {"v4i32", "int32",       "v4_int32",  4 },
        {"v2i64", "int64",       "v2_int64",  2 },
    };
    enum {
        VIEWS = sizeof views / sizeof *views,
    };
    for (unsigned i = 0; i < VIEWS; i++)
        fprintf(out, "<vector id=\"%s\" type=\"%s\" count=\"%u\"/>", views[i].id, views[i].type,
                views[i].count);
    fputs("<union id=\"vec128\">", out);
    for (unsigned i = 0; i < VIEWS; i++)
        fprintf(out, "<field name=\"%s\" type=\"%s\"/>", views[i].field, views[i].id);
    fputs("<field name=\"uint128\" type=\"uint128\"/></union>", out);
}

static void put_types(const struct gdb_arch *arch, enum feature feature, FILE *out)
{
    for (size_t i = 0; i < sizeof flag_types / sizeof *flag_types; i++)
        if (flag_types[i].feature == feature)
            put_flags(out, flag_types[i].id, feature == CORE ? 4 : arch->word, flag_types[i].flags);
    if (feature == SSE)
        put_vectors(out);
}

void gdb_arch_xml(const struct gdb_arch *arch, FILE *out)
{
    int feature = -1;
    fprintf(out,
            "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">"
            "<target version=\"1.0\"><architecture>%s</architecture>",
            arch->name);
    for (unsigned i = 0; i < arch->n; i++) {
        const struct reg_row *r = &arch->rows[i];
        if (r->feature != feature) {
            fprintf(out, "%s<feature name=\"%s\">", feature < 0 ? "" : "</feature>",
                    feature_names[r->feature]);
            put_types(arch, (enum feature)r->feature, out);
        }
        feature = r->feature;
        fprintf(out, "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>", r->name, r->bytes * 8u,
                r->type, i);
    }
    fputs("</feature></target>", out);
}
