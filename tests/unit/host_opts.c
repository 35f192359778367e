// SPDX-License-Identifier: MIT
#include "test.h"
#include "kvm/host/opts.h"

#define MiB (1ull << 20)
#define GiB (1ull << 30)

struct cfg {
    uint64_t mem, timeout, wide;
    uint32_t cpus;
    const char *kernel, *params;
    struct opt_list disks;
    bool rng, quiet, no_dhcp;
    int console;
};

static const struct opt_word consoles[] = {
    {"serial", 0, NULL                                 },
    {"virtio", 1, NULL                                 },
    {"hv",     0, "not in vmlet (use serial or virtio)"},
    {NULL,     0, NULL                                 }
};

static const struct opt table[] = {
    OPT_GROUP("Guest"),
    OPT_STRING(struct cfg, kernel, "kernel", 'k', "FILE", "bzImage or ELF kernel", .dflt = "the host's"),
    OPT_JOIN(struct cfg, params, "params", 'p', "TEXT", "kernel parameters; repeatable"),
    OPT_SIZE(struct cfg, mem, "mem", 'm', MiB, "RAM; a bare number is MiB", .min = MiB, .max = 1ull << 46),
    OPT_U32(struct cfg, cpus, "cpus", 'c', "N", "processors", .min = 1, .max = 255),
    OPT_LIST(struct cfg, disks, "disk", 'd', "FILE[,ro][,direct]", "a disk; repeatable"),
    OPT_GROUP("Other"),
    OPT_FLAG(struct cfg, rng, "rng", 'r', "a source of random numbers"),
    OPT_FLAG(struct cfg, quiet, "quiet", 'q', "say less", .flags = OPT_OUTER),
    OPT_FLAG(struct cfg, no_dhcp, "no-dhcp", 0, "no ip=dhcp"),
    OPT_ENUM(struct cfg, console, "console", 0, consoles, "what the console is", .dflt = "serial"),
    OPT_TIME(struct cfg, timeout, "timeout", 0, "end after this", .min = 1),
    OPT_U64(struct cfg, wide, "wide", 'w', "N", "a wide number", .flags = OPT_OUTER),
    OPT_REFUSED("9p", 0, "not in vmlet (use --share DIR[,tag=TAG])"),
    OPT_END};

static struct cfg cfg;
static struct opts_rest rest;

/* Parses words up to a NULL. */
#define PARSE(...) parse((const char *[]){__VA_ARGS__, NULL})
static const char *parse(const char **argv)
{
    static char *words[32]; /* a CHECK() ends the life of its compound literals, and rest points here */
    int argc = 0;
    while (argv[argc] && argc < 31) {
        words[argc] = (char *)(uintptr_t)argv[argc];
        argc++;
    }
    words[argc] = NULL;
    memset(&cfg, 0, sizeof cfg);
    return opts_parse(table, argc, words, &cfg, &rest);
}

TEST(opts_lkvm_line)
{
    CHECK(!PARSE("-k", "bzImage", "-m", "512", "-c2", "--disk", "a.img,ro", "-d", "b.img", "--rng", "-p",
                 "a=b", "-p", "c d", "--params=-e"));
    CHECK_STR(cfg.kernel, "bzImage");
    CHECK_EQ(cfg.mem, 512 * MiB);
    CHECK_EQ(cfg.cpus, 2);
    CHECK_EQ(cfg.disks.n, 2);
    CHECK_STR(cfg.disks.v[0], "a.img,ro");
    CHECK_STR(cfg.disks.v[1], "b.img");
    CHECK_STR(cfg.params, "a=b c d -e");
    CHECK(cfg.rng && !cfg.quiet);
    CHECK_EQ(rest.n_words, 0);
    CHECK(!rest.command);
    opts_release();
}

TEST(opts_words_and_command)
{
    CHECK(!PARSE("K", "-m512", "second", "-", "--", "sh", "-c", "exit 7", "--", "-m"));
    CHECK_EQ(rest.n_words, 3);
    CHECK_STR(rest.words[0], "K");
    CHECK_STR(rest.words[1], "second");
    CHECK_STR(rest.words[2], "-");
    CHECK_EQ(rest.n_command, 5);
    CHECK_STR(rest.command[0], "sh");
    CHECK_STR(rest.command[4], "-m");
    CHECK(!PARSE("--"));
    CHECK(rest.command && rest.n_command == 0);
    const char *none[] = {NULL};
    CHECK(!parse(none));
    opts_release();
}

TEST(opts_forms)
{
    CHECK(!PARSE("-rq", "--mem=1G", "--mem", "2G", "-m3G"));
    CHECK(cfg.rng && cfg.quiet);
    CHECK_EQ(cfg.mem, 3 * GiB);
    CHECK(!PARSE("-qrm", "1G"));
    CHECK(cfg.rng && cfg.quiet && cfg.mem == GiB);
    CHECK(!PARSE("--rng", "--no-rng", "--no-dhcp", "--quiet=on", "--kernel", "-k", "--kernel=a=b"));
    CHECK(!cfg.rng && cfg.no_dhcp && cfg.quiet);
    CHECK_STR(cfg.kernel, "a=b");
    CHECK(!PARSE("--no-no-dhcp", "--console", "virtio", "--timeout", "1.5", "--wide", "0xffffffffffffffff"));
    CHECK_EQ(cfg.console, 1);
    CHECK_EQ(cfg.timeout, 1500000000);
    CHECK_EQ(cfg.wide, UINT64_MAX);
    CHECK(!PARSE("-p", "-e", "--timeout=200ms"));
    CHECK_STR(cfg.params, "-e");
    CHECK_EQ(cfg.timeout, 200000000);
    opts_release();
}

TEST(opts_errors_name_option_and_value)
{
    CHECK_STR(PARSE("--console", "hv"), "--console hv: not in vmlet (use serial or virtio)");
    CHECK_STR(PARSE("--console", "tty"), "--console tty: must be one of serial, virtio");
    CHECK_STR(PARSE("--9p", "x"), "--9p: not in vmlet (use --share DIR[,tag=TAG])");
    CHECK_STR(PARSE("--kernle", "x"), "--kernle: no such option (did you mean --kernel?)");
    CHECK_STR(PARSE("--kern=x"), "--kern: no such option (did you mean --kernel?)");
    CHECK_STR(PARSE("--frobnicate"), "--frobnicate: no such option");
    CHECK_STR(PARSE("-Z"), "-Z: no such option");
    CHECK_STR(PARSE("-rZ"), "-Z: no such option");
    CHECK_STR(PARSE("-kernel", "x"), "-kernel: long options have two dashes (--kernel)");
    CHECK_STR(PARSE("--mem"), "--mem: needs a value (SIZE)");
    CHECK_STR(PARSE("-m", "--", "x"), "-m: needs a value (SIZE)");
    CHECK_STR(PARSE("--rng=maybe"), "--rng maybe: must be on or off");
    CHECK_STR(
        PARSE("--timeout", "soon"),
        "--timeout soon: not a time (seconds, or a number and one of ns us ms s m h, as in 1.5 or 200ms)");
    CHECK_STR(PARSE("--timeout", "0"), "--timeout 0: must be at least 1ns");
    CHECK_STR(PARSE("--no-kernel"), "--no-kernel: no such option");
    CHECK_STR(PARSE("--="), "--: no such option");
    opts_release();
}

TEST(L7_size_and_cpu_arguments)
{
    static const struct {
        const char *text;
        uint64_t mem; /* 0: refused */
    } sizes[] = {
        {"512",                                          512 * MiB },
        {"512M",                                         512 * MiB },
        {"512m",                                         512 * MiB },
        {"1048576B",                                     MiB       },
        {"1024K",                                        MiB       },
        {"3.5G",                                         3584 * MiB}, /* straddles the hole */
        {"1.5",                                          1572864   },
        {"64T",                                          1ull << 46},
        {"0",                                            0         },
        {"1P",                                           0         },
        {"65T",                                          0         },
        {"16384P",                                       0         }, /* 2^64 */
        {"16777216P",                                    0         },
        {"18446744073709551616",                         0         },
        {"18446744073709551615",                         0         },
        {"99999999999999999999999999999999999999999999", 0         },
        {"340282366920938463463374607431768211457M",     0         }, /* 2^128 + 1 */
        {"0.3G",                                         0         },
        {"0.0000000000000000001G",                       0         },
        {"1.",                                           0         },
        {".5G",                                          0         },
        {"-1",                                           0         },
        {"+1",                                           0         },
        {" 1",                                           0         },
        {"1 ",                                           0         },
        {"1MM",                                          0         },
        {"1MB",                                          0         },
        {"1E",                                           0         },
        {"0x10",                                         0         },
        {"",                                             0         },
        {"M",                                            0         },
        {"nan",                                          0         },
        {"1K",                                           0         }, /* below the least */
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char word[80];
        snprintf(word, sizeof word, "-m%s", sizes[i].text);
        const char *error = *sizes[i].text ? PARSE(word) : PARSE("--mem=");
        if ((sizes[i].mem == 0) != (error != NULL))
            printf("%s: %s\n", word, error ? error : "accepted");
        CHECK_EQ(sizes[i].mem == 0, error != NULL);
        CHECK_EQ(cfg.mem, sizes[i].mem);
        if (error)
            CHECK(strstr(error, sizes[i].text) && !strchr(error, '\n'));
    }
    CHECK_STR(PARSE("-m", "0"), "-m 0: must be 1M to 64T");
    CHECK_STR(PARSE("-m", "1P"), "-m 1P: must be 1M to 64T");
    CHECK_STR(PARSE("-m", "16384P"), "-m 16384P: too big");
    CHECK_STR(PARSE("-c", "0"), "-c 0: must be 1 to 255");
    CHECK_STR(PARSE("-c", "1000"), "-c 1000: must be 1 to 255");
    CHECK_STR(PARSE("-c", "4294967297"), "-c 4294967297: must be 1 to 255");
    CHECK_STR(PARSE("-c", "18446744073709551616"), "-c 18446744073709551616: too big");
    CHECK_STR(PARSE("-c", "1x"), "-c 1x: not a number");
    CHECK_STR(PARSE("-c", "0x"), "-c 0x: not a number");
    opts_release();
}

/* --- sub-options --- */

struct disk {
    const char *file;
    bool ro, direct;
    struct opt_list fwd;
    uint32_t n;
};
static const struct opt disk_table[] = {
    OPT_STRING(struct disk, file, "file", 0, "FILE", "the image", .flags = OPT_FIRST | OPT_NEEDED),
    OPT_FLAG(struct disk, ro, "ro", 0, "read-only"),
    OPT_FLAG(struct disk, direct, "direct", 0, "past the host's cache"),
    OPT_LIST(struct disk, fwd, "hostfwd", 0, "RULE", "forward"),
    OPT_U32(struct disk, n, "n", 0, "N", "number", .max = 9),
    OPT_REFUSED("trans", 0, "not in vmlet (leave it out)"),
    OPT_END};

static struct disk disk;
static const char *sub(const char *text)
{
    memset(&disk, 0, sizeof disk);
    return opts_sub(disk_table, "--disk", text, &disk);
}

TEST(opts_sub_options)
{
    CHECK(!sub("a.img,ro,n=3,hostfwd=a,hostfwd=b"));
    CHECK_STR(disk.file, "a.img");
    CHECK(disk.ro && !disk.direct);
    CHECK_EQ(disk.n, 3);
    CHECK_EQ(disk.fwd.n, 2);
    CHECK_STR(disk.fwd.v[1], "b");
    CHECK(!disk.fwd.v[2]); /* who walks to the NULL needs no count */
    CHECK(!sub("a,hostfwd=1,hostfwd=2,hostfwd=3,hostfwd=4,hostfwd=5") && !disk.fwd.v[5]);
    CHECK(!sub("a.img,ro,n=3,hostfwd=a,hostfwd=b"));
    CHECK(!sub("a,,b=c.img,direct=on,ro=off")); /* a comma and '=' in a file's name */
    CHECK_STR(disk.file, "a,b=c.img");
    CHECK(disk.direct && !disk.ro);
    CHECK(!sub("x,hostfwd=1,,2"));
    CHECK_STR(disk.fwd.v[0], "1,2");
    CHECK(!sub("x,,,ro"));
    CHECK_STR(disk.file, "x,");
    CHECK(disk.ro);
    CHECK_STR(sub("x,foo=1"), "--disk: foo: no such key (known: file, ro, direct, hostfwd, n)");
    CHECK_STR(sub("x,n=10"), "--disk: n=10: must be at most 9");
    CHECK_STR(sub("x,n"), "--disk: n: needs a value (N)");
    CHECK_STR(sub("x,ro=2"), "--disk: ro=2: must be on or off");
    CHECK_STR(sub("x,n=1,n=2"), "--disk: n: given twice");
    CHECK_STR(sub("x,trans=mmio"), "--disk: trans=mmio: not in vmlet (leave it out)");
    CHECK_STR(sub("x,"), "--disk: a key is missing at a comma (a comma within a value is written ,,)");
    CHECK_STR(sub("x,=3"), "--disk: a key is missing before = (a comma within a value is written ,,)");
    CHECK_STR(sub(""), "--disk: needs a value: FILE");
    CHECK_STR(sub(NULL), "--disk: needs a value: FILE");
    CHECK_STR(sub(",ro"), "--disk: needs a value: FILE");
    opts_release();
}

struct common {
    const char *id;
};
static const struct opt common_table[] = {OPT_STRING(struct common, id, "id", 0, "NAME", "the device's name"),
                                          OPT_END};
struct dev {
    uint64_t mask;
};
static const struct opt dev_table[] = {
    OPT_U64(struct dev, mask, "dma_mask", 0, "MASK", "addresses", .flags = OPT_NEEDED), OPT_END};

TEST(opts_presets)
{
    static const struct opt presets[] = {
        OPT_U64(struct cfg, wide, "mask", 0, "N", "bits", .dflt = "0xfffffff", .flags = OPT_PRESET),
        OPT_SIZE(struct cfg, mem, "mem", 0, 1, "room", .dflt = "16M", .flags = OPT_PRESET),
        OPT_ENUM(struct cfg, console, "console", 0, consoles, "what", .dflt = "virtio", .flags = OPT_PRESET),
        OPT_U32(struct cfg, cpus, "cpus", 0, "N", "processors", .dflt = "those of the host"), OPT_END};
    memset(&cfg, 0, sizeof cfg);
    opts_preset(presets, &cfg);
    CHECK_EQ(cfg.wide, 0xfffffff);
    CHECK_EQ(cfg.mem, 16 * MiB);
    CHECK_EQ(cfg.console, 1);
    CHECK_EQ(cfg.cpus, 0);
    CHECK(!opts_sub(presets, "--x", "mask=0", &cfg)); /* given, it is what was given */
    CHECK_EQ(cfg.wide, 0);
    opts_release();
}

TEST(opts_sub_over_two_tables)
{
    struct common common = {NULL};
    struct dev dev = {0};
    const struct opt_target targets[] = {
        {common_table, &common},
        {dev_table,    &dev   }
    };
    const char *r, *class = opts_first("edu,dma_mask=0xfff,id=e,,1", &r);
    CHECK_STR(class, "edu");
    CHECK(!opts_sub_into(targets, 2, "--device edu", r));
    CHECK_STR(common.id, "e,1");
    CHECK_EQ(dev.mask, 0xfff);
    CHECK_STR(opts_sub_into(targets, 2, "--device edu", "id=1"), "--device edu: dma_mask= must be given");
    CHECK_STR(opts_sub_into(targets, 2, "--device edu", "x=1"),
              "--device edu: x: no such key (known: id, dma_mask)");
    CHECK_STR(opts_first("edu", &r), "edu");
    CHECK_STR(r, "");
    opts_release();
}

TEST(opts_help_comes_from_the_table)
{
    char *text;
    size_t size;
    FILE *f = open_memstream(&text, &size);
    opts_help(f, table);
    fclose(f);
    CHECK(strstr(text, "Guest:\n  -k, --kernel FILE"));
    CHECK(strstr(text, "(default the host's)"));
    CHECK(strstr(text, "\nOther:\n  -r, --rng"));
    CHECK(strstr(text, "--console serial|virtio"));
    CHECK(!strstr(text, "hv") && !strstr(text, "9p"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        CHECK(strlen(line) <= 80);
    free(text);
    f = open_memstream(&text, &size);
    opts_sub_help(f, disk_table);
    fclose(f);
    CHECK(strstr(text, "  FILE ") && strstr(text, "  ro[=on|off] ") && strstr(text, "  n=N "));
    free(text);
    opts_release();
}

/* Random words over an alphabet that the parsers care about: no crash, and an error is one line. */
TEST(opts_random_words)
{
    static const char *const bits[] = {
        "-",      "--",      "=",   ",",    ",,",   "m",    "k",
        "kernel", "mem",     "no-", "rng",  "1",    "G",    "0x",
        ".",      "ro",      "n",   "file", "\x01", "\xff", "99999999999999999999",
        "trans",  "console", "hv"};
    uint64_t seed = 42;
    for (unsigned long i = 0; i < test_scale(20000); i++) {
        char words[4][128];
        const char *argv[5] = {0};
        int argc = (int)(test_rand(&seed) % 5);
        for (int j = 0; j < argc; j++) {
            words[j][0] = 0;
            for (uint64_t k = test_rand(&seed) % 5; k > 0; k--)
                strcat(words[j], bits[test_rand(&seed) % (sizeof bits / sizeof bits[0])]);
            argv[j] = words[j];
        }
        const char *e = parse(argv);
        CHECK(!e || (*e && !strchr(e, '\n')));
        e = sub(argc ? argv[0] : NULL);
        CHECK(!e || !strncmp(e, "--disk: ", 8));
        if (i % 100 == 0)
            opts_release();
    }
    opts_release();
}

static const char *inner(const char *line)
{
    static char text[256], copy[256];
    char *argv[16], **left;
    int argc = 0, n;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    left = opts_inner(table, argc, argv, &n);
    text[0] = 0;
    for (int i = 0; i < n; i++)
        sprintf(text + strlen(text), "%s%s", i ? " " : "", left[i]);
    CHECK(!left[n]);
    return text;
}

TEST(opts_inner_words)
{
    static const struct {
        const char *all, *left;
    } cases[] = {
        {"",                            ""                           },
        {"-k x plain --rng",            "-k x plain --rng"           },
        {"--wide 4 -k x --quiet",       "-k x"                       },
        {"--wide=4 --no-quiet -m16",    "-m16"                       },
        {"-w 4 -w4 -q y",               "y"                          },
        {"-qrw4 -rq -rw 4 -qrk x",      "-r -r -r -rk x"             },
        {"-p --wide --params -w -k -q", "-p --wide --params -w -k -q"},
        {"-qp-w --params=--wide",       "-p-w --params=--wide"       },
        {"--quiet -- --quiet -w 4",     "-- --quiet -w 4"            },
        {"- --no-rng",                  "- --no-rng"                 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_STR(inner(cases[i].all), cases[i].left);
    opts_release();
}

TEST(opts_time_and_back)
{
    static const uint64_t times[] = {0,          1,           999999,         1500000000,       90000000000,
                                     1234567890, 43200000000, 86400000000000, 1000001000000000, UINT64_MAX};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        uint64_t back = 0;
        CHECK(!opts_time(opts_time_text(times[i]), &back));
        CHECK_EQ(back, times[i]);
    }
    CHECK_STR(opts_time_text(90000000000), "90s");
    CHECK_STR(opts_time_text(1500000000), "1500ms");
    opts_release();
}
