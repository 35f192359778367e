// SPDX-License-Identifier: MIT
/* Names for the guest's addresses: look-up, KASLR, lines, and files that nobody should trust. */
#include "test.h"

#include "guest/symbols.h"

#include <elf.h>
#include <unistd.h>

static char err[512];
static struct symbols *s;

/* From a buffer of just that size, so that the address sanitizer sees every byte too far. */
static bool open_bytes(const void *data, size_t n)
{
    void *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    symbols_free(s);
    err[0] = 0;
    s = symbols_open_data("f", copy, n, err, sizeof err);
    free(copy);
    return s;
}

static bool open_text(const char *text)
{
    return open_bytes(text, strlen(text));
}

static const char *name_at(uint64_t addr)
{
    static char buf[600];
    return symbols_name(s, addr, buf, sizeof buf);
}

static const char *named(const char *line)
{
    static char buf[1024];
    symbols_line(s, line, buf, sizeof buf);
    return buf;
}

static const char map[] = "0000000000000000 A fixed_percpu_data\n"
                          "0000000000001000 A irq_stack_backing_store\n"
                          "ffffffff81000000 T _stext\n"
                          "ffffffff81000000 t local_alias\n"
                          "ffffffff810001f0 t __pfx_do_one\n"
                          "ffffffff81000200 t do_one\n"
                          "ffffffff81000300 T do_two\n"
                          "ffffffff81a00000 T entry_SYSCALL_64\n"
                          "ffffffff82000000 d some_data\n"
                          "ffffffff82400000 d idt_table\n"
                          "ffffffff84000000 B _end\n";

TEST(symbols_look_up)
{
    CHECK(open_text(map));
    CHECK_STR(name_at(0xffffffff81000210), ""); /* nobody knows yet where the kernel is */
    CHECK(!symbols_placed(s));
    symbols_learn_unmoved(s);
    CHECK_STR(name_at(0xffffffff81000210), "do_one+0x10");
    CHECK_STR(name_at(0xffffffff81000200), "do_one");
    CHECK_STR(name_at(0xffffffff810001f8), "_stext+0x1f8"); /* padding is the function's before it */
    CHECK_STR(name_at(0xffffffff81000000), "_stext");       /* a global one before its alias */
    CHECK_STR(name_at(0xffffffff80ffffff), "");
    CHECK_STR(name_at(0xffffffff84000000), ""); /* behind the last */
    CHECK_STR(name_at(0xffffffff83ffffff), ""); /* in no symbol: 28 MiB behind one */
    CHECK_STR(name_at(0x1000), "");
    CHECK_STR(name_at(0), "");
    CHECK_STR(name_at(UINT64_MAX), "");
}

TEST(symbols_learn_where_the_kernel_is)
{
    uint64_t moved = 0x1a600000;
    CHECK(open_text(map));
    CHECK(symbols_learn(s, 0, 0));
    CHECK(symbols_learn(s, 0, 0xfffffe0000000000)); /* the fixed place of the IDT */
    CHECK(!symbols_placed(s));
    CHECK(symbols_learn(s, 0xffffffff81a00000 + moved, 0));
    CHECK_STR(name_at(0xffffffff81000310 + moved), "do_two+0x10");
    CHECK_STR(name_at(0xffffffff81000310), "");

    CHECK(open_text(map)); /* early in the boot */
    CHECK(symbols_learn(s, 0, 0xffffffff82400000 + moved));
    CHECK_STR(name_at(0xffffffff81000310 + moved), "do_two+0x10");

    CHECK(open_text(map));
    symbols_learn_line(s, "Kernel Offset: zzz");
    symbols_learn_line(s, "Kernel Offset: 0x123 from 0xffffffff81000000");
    symbols_learn_line(s, "Kernel Offset: 0x7fffffffffe00000 from 0xffffffff81000000");
    CHECK(!symbols_placed(s));
    symbols_learn_line(s, "Kernel Offset: 0x1a600000 from 0xffffffff81000000 (relocation range: 0xf-0x1)");
    CHECK_STR(name_at(0xffffffff81000310 + moved), "do_two+0x10");
    CHECK(open_text(map));
    symbols_learn_line(s, "Kernel Offset: disabled");
    CHECK_STR(name_at(0xffffffff81000310), "do_two+0x10");

    CHECK(open_text(map)); /* of another kernel: no move is by 0x40 */
    CHECK(!symbols_learn(s, 0xffffffff81a00040 + moved, 0));
    CHECK(!symbols_placed(s));
    CHECK(!symbols_learn(s, 0xffffffff80a00000, 0)); /* nor downwards */
    CHECK(symbols_learn(s, 0x1000, 0));              /* not the upper half: nothing of Linux' yet */
}

TEST(symbols_in_lines)
{
    CHECK(open_text(map));
    symbols_learn_unmoved(s);
    CHECK_STR(named("RIP: 0010:0xffffffff81000210"), "RIP: 0010:0xffffffff81000210 (do_one+0x10)");
    CHECK_STR(named(" [<ffffffff81000300>] ? 0xffffffff81000305"),
              " [<ffffffff81000300 (do_two)>] ? 0xffffffff81000305 (do_two+0x5)");
    CHECK_STR(named("RAX  ffffffff81000210  RBX  0000000000000000"),
              "RAX  ffffffff81000210 (do_one+0x10)  RBX  0000000000000000");
    CHECK_STR(named("xffffffff81000210 ffffffff810002100 0x ffffffff81000210_ 81000210"),
              "xffffffff81000210 ffffffff810002100 0x ffffffff81000210_ 81000210");
    CHECK_STR(named(""), "");
    char small[24];
    CHECK(symbols_line(s, "at ffffffff81000210", small, sizeof small));
    CHECK_STR(small, "at ffffffff81000210 (do");
    for (size_t size = 1; size < 60; size++) {
        char *buf = malloc(size);
        symbols_line(s, "a ffffffff81000210 b ffffffff81000300 c", buf, size);
        CHECK(strlen(buf) < size);
        free(buf);
    }
}

TEST(symbols_of_programs_are_where_they_are)
{
    CHECK(open_text("00100000 T _start\n00100040 t loop\n00101000 B _end\n"));
    CHECK(symbols_placed(s));
    CHECK_STR(named("triple fault at RIP 0x100044 (code 0f 0b)"),
              "triple fault at RIP 0x100044 (loop+0x4) (code 0f 0b)");
    CHECK_STR(named("EIP 00100044"), "EIP 00100044 (loop+0x4)");
}

static void refused(const void *data, size_t n, const char *words)
{
    CHECK(!open_bytes(data, n));
    if (strncmp(err, "--symbols f: ", 13) || !strstr(err, words) || strchr(err, '\n')) {
        printf("the reason is \"%s\", without \"%s\"\n", err, words);
        CHECK(false);
    }
}

TEST(symbols_files_that_are_none)
{
    static const char stub[] =
        "ffffffffffffffff B The real System.map is in the linux-image-6.1.0-56-amd64-dbg package\n";
    static const struct {
        const char *text, *words;
    } bad[] = {
        {stub,                                           "it is a stub, with no symbol in it: \"The real System.map is in the "
               "linux-image-6.1.0-56-amd64-dbg package\""                                       },
        {"hello\nworld\n",                               "neither an ELF file nor a System.map: line 1 is not"},
        {"ffffffff81000000 T _text\nffffffff8100\n",     "line 2 is not"                                      },
        {"ffffffff81000000 T a\x01"
         "b\n",                                 "line 1 has a name that cannot be one"               },
        {"0000000000000000 T a\n0000000000000000 T b\n", "kptr_restrict"                                      },
        {"0000000000000000 A a\n0000000000000001 A b\n", "there is no symbol in it"                           },
        {"ffffffff810000001 T a\n",                      "line 1 is not"                                      },
        {"ffffffff81000000 T",                           "line 1 is not"                                      },
        {"\n",                                           "line 1 is not"                                      },
        {"\x1f\x8b\x08xxxxxxx",                          "it is compressed (gzip)"                            },
        {"\xfd"
         "7zXZ.....",                           "it is compressed (xz)"                              },
        {"\x28\xb5\x2f\xfd......",                       "it is compressed (zstd)"                            },
        {"\x7f"
         "ELF",                                 "cut short in its ELF header"                        },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        refused(bad[i].text, strlen(bad[i].text), bad[i].words);
    refused("ffffffff81000000 T a\0b\n", 23, "it is no text");
    char setup[0x300] = "MZ";
    memcpy(setup + 0x202, "HdrS", 4);
    refused(setup, sizeof setup, "a bzImage has no symbols");
    CHECK(!symbols_open("/nonexistent", err, sizeof err) && strstr(err, "/nonexistent: No such file"));
    CHECK(!symbols_open("/dev", err, sizeof err) && strstr(err, "it is a folder"));
}

/* ---- ELF: headers, a symbol table, its strings, in that order */

enum {
    SYMBOLS_N = 7,
    AT_SYMBOLS = 0x100,
    AT_STRINGS = 0x300,
    STRINGS_N = 0x80,
    AT_SECTIONS = 0x400,
    ELF_N = AT_SECTIONS + 3 * 64,
};

static uint8_t elf_bytes[ELF_N];

static uint8_t *elf(bool is_64)
{
    static const char strings[] = "\0entry_SYSCALL_64\0func\0static_func\0object\0absent\0gone";
    static const struct {
        uint32_t name;
        uint8_t info;
        uint16_t shndx;
        uint32_t value;
    } symbols[SYMBOLS_N] = {
        {0,                         0,           0,         0     },
        { 1, ELF64_ST_INFO(STB_GLOBAL, STT_NOTYPE),         1,    0x0},
        { 18, ELF64_ST_INFO(STB_GLOBAL,   STT_FUNC),         1,  0x100},
        { 23,  ELF64_ST_INFO(STB_LOCAL,   STT_FUNC),         1,  0x200},
        { 35, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT),         2, 0x1000},
        { 42, ELF64_ST_INFO(STB_GLOBAL,   STT_FUNC), SHN_UNDEF,  0x180},
        { 49, ELF64_ST_INFO(STB_GLOBAL,   STT_FUNC),         3, 0x2000},
    };
    uint8_t *b = memset(elf_bytes, 0, sizeof elf_bytes);
    if (is_64) {
        Elf64_Ehdr eh = {.e_type = ET_EXEC,
                         .e_machine = EM_X86_64,
                         .e_shoff = AT_SECTIONS,
                         .e_shentsize = 64,
                         .e_shnum = 3};
        memcpy(eh.e_ident, ELFMAG "\2\1\1", 7);
        memcpy(b, &eh, sizeof eh);
        Elf64_Shdr sh[3] = {
            [1] = {.sh_type = SHT_SYMTAB,
                   .sh_offset = AT_SYMBOLS,
                   .sh_size = SYMBOLS_N * sizeof(Elf64_Sym),
                   .sh_link = 2,
                   .sh_entsize = sizeof(Elf64_Sym)},
            [2] = {.sh_type = SHT_STRTAB, .sh_offset = AT_STRINGS, .sh_size = sizeof strings}
        };
        memcpy(b + AT_SECTIONS, sh, sizeof sh);
    } else {
        Elf32_Ehdr eh = {
            .e_type = ET_EXEC, .e_machine = EM_386, .e_shoff = AT_SECTIONS, .e_shentsize = 40, .e_shnum = 3};
        memcpy(eh.e_ident, ELFMAG "\1\1\1", 7);
        memcpy(b, &eh, sizeof eh);
        Elf32_Shdr sh[3] = {
            [1] = {.sh_type = SHT_SYMTAB,
                   .sh_offset = AT_SYMBOLS,
                   .sh_size = SYMBOLS_N * sizeof(Elf32_Sym),
                   .sh_link = 2,
                   .sh_entsize = sizeof(Elf32_Sym)},
            [2] = {.sh_type = SHT_STRTAB, .sh_offset = AT_STRINGS, .sh_size = sizeof strings}
        };
        memcpy(b + AT_SECTIONS, sh, sizeof sh);
    }
    for (unsigned i = 0; i < SYMBOLS_N; i++) {
        Elf64_Sym wide = {
            symbols[i].name, symbols[i].info, 0, symbols[i].shndx, 0xffffffff81000000 + symbols[i].value, 0};
        Elf32_Sym narrow = {symbols[i].name, 0x100000 + symbols[i].value, 0, symbols[i].info, 0,
                            symbols[i].shndx};
        if (is_64)
            memcpy(b + AT_SYMBOLS + i * sizeof wide, &wide, sizeof wide);
        else
            memcpy(b + AT_SYMBOLS + i * sizeof narrow, &narrow, sizeof narrow);
    }
    memcpy(b + AT_STRINGS, strings, sizeof strings);
    return b;
}

TEST(symbols_of_elf_files)
{
    CHECK(open_bytes(elf(true), ELF_N));
    CHECK_EQ(symbols_count(s), 5);
    CHECK(symbols_learn(s, 0xffffffff81000000 + 0x200000, 0));
    CHECK_STR(name_at(0xffffffff81200104), "func+0x4");
    CHECK_STR(name_at(0xffffffff81200190), "func+0x90"); /* what is defined elsewhere is not here */
    CHECK_STR(name_at(0xffffffff81200204), "static_func+0x4");
    CHECK_STR(name_at(0xffffffff81201001), "object+0x1");
    CHECK(open_bytes(elf(false), ELF_N));
    CHECK_EQ(symbols_count(s), 5);
    CHECK_STR(name_at(0x100104), "func+0x4");
}

TEST(symbols_of_elf_files_that_are_wrong)
{
    uint8_t *b = elf(true);
    refused(b, 60, "cut short in its ELF header");
    refused(b, AT_SECTIONS + 70, "its section headers lie outside the file");
    b = elf(true), b[offsetof(Elf64_Ehdr, e_type)] = ET_REL;
    refused(b, ELF_N, "name vmlinux, not a module");
    b = elf(true), b[offsetof(Elf64_Ehdr, e_machine)] = EM_AARCH64;
    refused(b, ELF_N, "another machine");
    b = elf(true), memset(b + offsetof(Elf64_Ehdr, e_shoff), 0, 8);
    refused(b, ELF_N, "it was stripped");
    b = elf(true), b[AT_SECTIONS + 64 + offsetof(Elf64_Shdr, sh_type)] = SHT_PROGBITS;
    refused(b, ELF_N, "it was stripped");
    b = elf(true), b[AT_SECTIONS + 64 + offsetof(Elf64_Shdr, sh_link)] = 9;
    refused(b, ELF_N, "no names");
    b = elf(true), b[AT_SECTIONS + 64 + offsetof(Elf64_Shdr, sh_entsize)] = 0;
    refused(b, ELF_N, "ELF symbols of 0 bytes");
    b = elf(true), b[AT_SECTIONS + 64 + offsetof(Elf64_Shdr, sh_size) + 2] = 1;
    refused(b, ELF_N, "its symbol table lies outside the file");
    b = elf(true), b[AT_SECTIONS + 64 + offsetof(Elf64_Shdr, sh_size) + 5] = 1;
    refused(b, ELF_N, "its symbol table is too large");
}

/* Any change of the file is a refusal with a sentence, or a table that answers. */
TEST(symbols_of_spoiled_files)
{
    static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff};
    uint64_t seed = 4711;
    char text[sizeof map];
    for (unsigned i = 0; i < 60000; i++) {
        bool is_elf = i & 1;
        uint8_t *b = is_elf ? elf(i & 2) : memcpy(text, map, sizeof map);
        size_t n = is_elf ? ELF_N : sizeof map - 1;
        for (unsigned k = 1 + test_rand(&seed) % 3; k; k--)
            b[test_rand(&seed) % n] =
                test_rand(&seed) % 4 ? values[test_rand(&seed) % sizeof values] : (uint8_t)test_rand(&seed);
        if (test_rand(&seed) % 8 == 0)
            n = test_rand(&seed) % n + 1;
        if (!open_bytes(b, n)) {
            CHECK(!strncmp(err, "--symbols f: ", 13) && err[13] && !strchr(err, '\n'));
            continue;
        }
        symbols_learn_unmoved(s);
        for (uint64_t addr = 0xffffffff81000000; addr < 0xffffffff81002000; addr += 0x1ff)
            named("at 0xffffffff81000210 and 0x100210");
        name_at(test_rand(&seed));
    }
}
