/* SPDX-License-Identifier: MIT
 *
 * Options as const tables. One table says, for each option, its name, letter, type, place in the struct that
 * is filled, range and help; the parser, the help text and the errors all come from it. The same kind of
 * table describes a command line (`--mem 512M -c2`), a list of sub-options (`mode=user,guest_mac=…`) and a
 * device's options (`--device edu,dma_mask=…`).
 *
 *   struct cfg { uint64_t mem; uint32_t cpus; const char *kernel; struct opt_list disks; bool rng; int
 * console; }; static const struct opt_word consoles[] = {{"serial", 0}, {"hv", 0, "use serial or virtio"},
 * {0}}; static const struct opt table[] = { OPT_STRING(struct cfg, kernel, "kernel", 'k', "FILE", "bzImage or
 * ELF kernel"), OPT_SIZE(struct cfg, mem, "mem", 'm', MiB, "RAM; a bare number is MiB", .min = MiB, .max =
 * TiB), OPT_U32(struct cfg, cpus, "cpus", 'c', "N", "processors", .min = 1, .max = 255), OPT_LIST(struct cfg,
 * disks, "disk", 'd', "FILE[,ro][,direct]", "a disk; repeatable"), OPT_FLAG(struct cfg, rng, "rng", 0, "a
 * source of random numbers"), OPT_ENUM(struct cfg, console, "console", 0, consoles, "what the guest's console
 * is"), OPT_REFUSED("9p", 0, "use --share DIR[,tag=TAG]"), OPT_END};
 *
 * The macros check the field's type at compile time. Defaults are what the struct holds before; what is not
 * given stays.
 *
 * Errors are sentences without a newline: `--mem 12Q: not a size (…)`; NULL means none. They, strings that
 * had to be copied, and lists live as long as the process (set-up only; bounded by the command line);
 * opts_release() is for tests. Set-up thread only. No function prints or exits.
 *
 * Command line: -k FILE, -kFILE, -rd (flags may be joined), --kernel FILE, --kernel=FILE; `--no-NAME` takes a
 * flag back. Long names are not guessed from their beginnings; an unknown one is answered with the nearest
 * known one. A value may begin with '-'. "-" alone is a positional. Options and positionals may be mixed;
 * "--" ends both.
 *
 * Sub-options: k=v,k=v. `,,` is a literal comma. A flag may be given as `ro`, `ro=on`, `ro=off`. With
 * OPT_FIRST on one entry the first element is that entry's value, whole, whatever it contains: `-d FILE,ro`.
 * A key given twice is an error unless it is a list or extends.
 */
#ifndef KVM_HOST_OPTS_H
#define KVM_HOST_OPTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum opt_type {
    OPT_TYPE_END,
    OPT_TYPE_GROUP,  /* a heading in the help: name is its text */
    OPT_TYPE_FLAG,   /* bool */
    OPT_TYPE_STRING, /* const char *; the last one given counts */
    OPT_TYPE_JOIN,   /* const char *; each further one is added after a blank (-p) */
    OPT_TYPE_LIST,   /* struct opt_list; repeatable */
    OPT_TYPE_SIZE, /* uint64_t bytes: 512, 512M, 1.5G; B K M G T P, powers of 1024; bare means times `bare` */
    OPT_TYPE_TIME, /* uint64_t ns: 3, 0.5, 3s, 200ms, 2m, 1h */
    OPT_TYPE_U32,  /* uint32_t: decimal, 0x… */
    OPT_TYPE_U64,  /* uint64_t */
    OPT_TYPE_ENUM, /* int or an enum: a word of `words` */
    OPT_TYPE_CALL, /* `call` does it, with a value */
    OPT_TYPE_REFUSED, /* a word that others know: `help` says what to type instead; not in the help */
};

enum opt_flags {
    OPT_HIDDEN = 1,  /* not in the help */
    OPT_FIRST = 2,   /* sub-options: takes the first element */
    OPT_NEEDED = 4,  /* sub-options: must be given */
    OPT_OUTER = 8,   /* opts_inner() leaves it out */
    OPT_PRESET = 16, /* dflt is a value, and opts_preset() sets it */
};

struct opt_word {
    const char *word;
    int value;
    const char *refuse; /* not NULL: the word is known, but refused with this sentence */
};

struct opt_list {
    const char **v; /* NULL when n is 0; else v[n] is NULL */
    size_t n;
};

struct opt;

/* Returns NULL or an error, best made by opts_say(); the caller puts the option's name and value in front. */
typedef const char *opt_call(void *out, const struct opt *opt, const char *value);

struct opt {
    const char *name; /* long name or key */
    char letter;      /* short name or 0 */
    uint8_t type;     /* enum opt_type */
    uint8_t flags;    /* enum opt_flags */
    uint32_t offset;  /* of the field in the struct that is filled */
    const char *arg;  /* what the help calls the value: "FILE" */
    const char *help;
    uint64_t min, max; /* sizes, times, numbers: inclusive; max 0: no limit but the type's */
    uint64_t bare;     /* sizes: what a number without a suffix is multiplied by; 0: 1 */
    const struct opt_word *words;
    opt_call *call;
    const char *dflt; /* for the help: "(default …)"; and see OPT_PRESET */
};

#define OPT_FIELD_(type_, field_, want_)                                                                     \
    (uint32_t)(                                                                                              \
        offsetof(type_, field_) +                                                                            \
        0 * sizeof(char[__builtin_types_compatible_p(__typeof__(((type_ *)0)->field_), want_) ? 1 : -1]))
#define OPT_INT_(type_, field_)                                                                              \
    (uint32_t)(offsetof(type_, field_) + 0 * sizeof(char[sizeof((type_ *)0)->field_ == sizeof(int) ? 1 : -1]))

#define OPT_GROUP(text_)                                                                                     \
    {                                                                                                        \
        .name = (text_), .type = OPT_TYPE_GROUP                                                              \
    }
#define OPT_FLAG(t_, f_, name_, letter_, help_, ...)                                                         \
    {                                                                                                        \
        .name = (name_), .letter = (letter_), .type = OPT_TYPE_FLAG, .offset = OPT_FIELD_(t_, f_, bool),     \
        .help = (help_), __VA_ARGS__                                                                         \
    }
#define OPT_VALUE_(kind_, ctype_, t_, f_, name_, letter_, arg_, help_, ...)                                  \
    {                                                                                                        \
        .name = (name_), .letter = (letter_), .type = (kind_), .offset = OPT_FIELD_(t_, f_, ctype_),         \
        .arg = (arg_), .help = (help_), __VA_ARGS__                                                          \
    }
#define OPT_STRING(t_, f_, name_, letter_, arg_, help_, ...)                                                 \
    OPT_VALUE_(OPT_TYPE_STRING, const char *, t_, f_, name_, letter_, arg_, help_, __VA_ARGS__)
#define OPT_JOIN(t_, f_, name_, letter_, arg_, help_, ...)                                                   \
    OPT_VALUE_(OPT_TYPE_JOIN, const char *, t_, f_, name_, letter_, arg_, help_, __VA_ARGS__)
#define OPT_LIST(t_, f_, name_, letter_, arg_, help_, ...)                                                   \
    OPT_VALUE_(OPT_TYPE_LIST, struct opt_list, t_, f_, name_, letter_, arg_, help_, __VA_ARGS__)
#define OPT_SIZE(t_, f_, name_, letter_, bare_, help_, ...)                                                  \
    OPT_VALUE_(OPT_TYPE_SIZE, uint64_t, t_, f_, name_, letter_, "SIZE", help_, .bare = (bare_), __VA_ARGS__)
#define OPT_TIME(t_, f_, name_, letter_, help_, ...)                                                         \
    OPT_VALUE_(OPT_TYPE_TIME, uint64_t, t_, f_, name_, letter_, "SECONDS", help_, __VA_ARGS__)
#define OPT_U32(t_, f_, name_, letter_, arg_, help_, ...)                                                    \
    OPT_VALUE_(OPT_TYPE_U32, uint32_t, t_, f_, name_, letter_, arg_, help_, __VA_ARGS__)
#define OPT_U64(t_, f_, name_, letter_, arg_, help_, ...)                                                    \
    OPT_VALUE_(OPT_TYPE_U64, uint64_t, t_, f_, name_, letter_, arg_, help_, __VA_ARGS__)
#define OPT_ENUM(t_, f_, name_, letter_, words_, help_, ...)                                                 \
    {                                                                                                        \
        .name = (name_), .letter = (letter_), .type = OPT_TYPE_ENUM, .offset = OPT_INT_(t_, f_),             \
        .words = (words_), .help = (help_), __VA_ARGS__                                                      \
    }
#define OPT_CALL(name_, letter_, call_, arg_, help_, ...)                                                    \
    {                                                                                                        \
        .name = (name_), .letter = (letter_), .type = OPT_TYPE_CALL, .call = (call_), .arg = (arg_),         \
        .help = (help_), __VA_ARGS__                                                                         \
    }
#define OPT_REFUSED(name_, letter_, instead_)                                                                \
    {                                                                                                        \
        .name = (name_), .letter = (letter_), .type = OPT_TYPE_REFUSED, .help = (instead_)                   \
    }
#define OPT_END                                                                                              \
    {                                                                                                        \
        .type = OPT_TYPE_END                                                                                 \
    }

/* What is left: words that are no options, and what stands after "--" (command NULL: there was no "--"). The
 * pointers are those of argv; words is an array of its own. */
struct opts_rest {
    const char **words;
    int n_words;
    char **command;
    int n_command;
};

/* argv[0] is the first word to look at (not the program's name). */
const char *opts_parse(const struct opt *table, int argc, char **argv, void *out, struct opts_rest *rest)
    __attribute__((warn_unused_result));

/* Sets the options that are marked OPT_PRESET to their defaults: before the parse, so that the help and what happens are one. */
void opts_preset(const struct opt *table, void *out);

/* The words without the options that are marked OPT_OUTER: those for a child of this process. They have been parsed, without an
 * error. NULL behind the last; *n is how many. */
char **opts_inner(const struct opt *table, int argc, char **argv, int *n);

/* Sub-options of one value. label is what errors begin with: "--disk". text NULL or "": none given. */
const char *opts_sub(const struct opt *table, const char *label, const char *text, void *out)
    __attribute__((warn_unused_result));

/* The same over several tables, each with its own struct: the first that knows a key takes it (a device's
 * common options and its own). OPT_FIRST is looked for in the first table only. */
struct opt_target {
    const struct opt *table;
    void *out;
};
const char *opts_sub_into(const struct opt_target *targets, size_t n, const char *label, const char *text)
    __attribute__((warn_unused_result));

/* The first element of `text` (up to the first single comma, unescaped) and, through *rest, what follows that
 * comma ("" if nothing): for `--device CLASS,…`, whose table depends on CLASS. */
const char *opts_first(const char *text, const char **rest);

/* Is `typed` a slip of the fingers for `known`: two edits away (one where it is short), or its beginning? */
bool opts_slip(const char *typed, const char *known);

/* Numbers as the tables read them: NULL or an error such as "not a size (…)". */
const char *opts_size(const char *text, uint64_t bare, uint64_t *bytes) __attribute__((warn_unused_result));
const char *opts_time(const char *text, uint64_t *ns) __attribute__((warn_unused_result));
const char *opts_u64(const char *text, uint64_t *value) __attribute__((warn_unused_result));
/* The way back of opts_time(), to the nanosecond: "90s", "1500ms". */
const char *opts_time_text(uint64_t ns);

/* Help of a command line's options, `  -m, --mem SIZE   RAM…`, and of sub-options, `  dma_mask=N   …`. opts_help_text(): the
 * right column of such a line, of which `at` characters are written. */
void opts_help(FILE *out, const struct opt *table);
void opts_sub_help(FILE *out, const struct opt *table);
void opts_help_text(FILE *out, int at, const char *text);

/* The same as sections of a manual page (roff, man(7)), and as the part of a bash completion that sets $words from $prev and
 * $cur. opts_man_text(): any text, with what roff would read otherwise made safe. */
void opts_man(FILE *out, const struct opt *table);
void opts_man_text(FILE *out, const char *text);
void opts_completion(FILE *out, const struct opt *table);

/* What a table's options are set to in the struct that it fills: a line `name = value` each, indented. For `info qtree`. */
void opts_values(FILE *out, const struct opt *table, const void *filled, int indent);

/* Memory of zeros that lives as long as the process; NULL: there is none. */
void *opts_keep(size_t size);
/* A formatted string of that kind. */
const char *opts_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Frees all that the functions above have kept. For tests. */
void opts_release(void);

#endif
