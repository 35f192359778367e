// SPDX-License-Identifier: MIT
/* `vmlet batch`: see include/guest/batch.h. */
#include "guest/batch.h"

#include "guest/machine.h"
#include "guest/many.h"
#include "guest/words.h"
#include "kvm/host/log.h"
#include "kvm/host/ns.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FILE_MAX = 16 << 20,
    MISTAKES_TOLD = 20,
};

struct options {
    uint32_t jobs;
    uint64_t timeout;
    bool fail_fast;
    const char *logs, *junit;
};

#define T struct options
const struct opt batch_option_table[] = {
    OPT_U32(T, jobs, "jobs", 'j', "N", "how many run at a time", .min = 1, .max = 1024, .dflt = "1"),
    OPT_TIME(T, timeout, "timeout", 0, "for lines that give none themselves, see `vmlet help run`",
             .dflt = "0: none"),
    OPT_FLAG(T, fail_fast, "fail-fast", 0, "the first that fails ends all"),
    OPT_STRING(T, logs, "logs", 0, "DIR", "the output of each line as a file there"),
    OPT_STRING(T, junit, "junit", 0, "FILE", "write how the lines ended as JUnit XML"),
    OPT_END,
};
#undef T

struct line {
    struct run run; /* first */
    char **words;
    const char *own_name;
    char where[];
};

struct batch {
    struct options options;
    const char *file;
    struct line **lines;
    size_t n, at;
    unsigned mistakes;
};

/* Blocks; the signals that end a process are let through meanwhile, since nothing runs yet. */
static char *read_file(const char *path, size_t *size)
{
    sigset_t all, none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, &all);
    int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
    char *text = fd < 0 ? NULL : malloc(FILE_MAX + 1);
    ssize_t got = fd < 0 || !text ? -1 : 1;
    for (*size = 0; got > 0 && *size <= FILE_MAX; *size += (size_t)(got > 0 ? got : 0))
        do
            got = read(fd, text + *size, FILE_MAX + 1 - *size);
        while (got < 0 && errno == EINTR);
    if (got < 0)
        die("batch: %s: %s", strcmp(path, "-") ? path : "standard input", strerror(errno));
    if (*size > FILE_MAX)
        die("batch: %s: more than %d MiB (a batch file has a command a line)", path, FILE_MAX >> 20);
    if (fd != STDIN_FILENO)
        close(fd);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    return text;
}

static void mistake(struct batch *b, unsigned number, const char *text)
{
    if (b->mistakes++ < MISTAKES_TOLD)
        warn("%s:%u: %s", b->file, number, text);
}

/* How many of the words say `run`; 0: they say something else. */
static int verb_words(char *const *words)
{
    const char *slash = strrchr(words[0], '/'), *first = slash ? slash + 1 : words[0];
    int at = !strcmp(first, "vmlet");
    return words[at] && !strcmp(words[at], "run") ? at + 1 : 0;
}

/* Two guests of one name are one too many, if they run at a time. */
static const char *name_taken(const struct batch *b, const char *name)
{
    for (size_t i = 0; name && b->options.jobs > 1 && i < b->n; i++)
        if (b->lines[i]->own_name && !strcmp(b->lines[i]->own_name, name))
            return opts_say("--name %s: %s has it too, and they may run at the same time (or use -j 1)", name,
                            b->lines[i]->where);
    return NULL;
}

/* What --timeout adds before the words of a line that has none of its own. */
static char *const *added(const struct batch *b, const struct machine_options *o)
{
    const char **v = calloc(3, sizeof *v);
    size_t n = 0;
    if (!v)
        die("batch: out of memory");
    if (b->options.timeout && !o->timeout) {
        v[n++] = "--timeout";
        v[n++] = opts_time_text(b->options.timeout);
    }
    return (char *const *)v;
}

static void add(struct batch *b, unsigned number, char **words, int n_words)
{
    int skip = verb_words(words);
    struct machine_options o;
    machine_options_init(&o);
    const char *error = skip ? machine_options_parse(n_words - skip, words + skip, &o)
                             : opts_say("%s: a line is a run command: [vmlet] run …", words[0]);
    if (!error)
        error = name_taken(b, o.name);
    if (error) {
        mistake(b, number, error);
        free(words);
        return;
    }
    const char *file = strcmp(b->file, "-") ? b->file : "stdin";
    struct line *line = calloc(1, sizeof *line + strlen(file) + 16);
    if (!line)
        die("batch: out of memory");
    log_clean(line->where,
              (size_t)sprintf(line->where, "%s:%u", file, number));   /* it is shown on terminals */
    bool named = o.name || o.repeat || o.until_fail || o.probe_sweep; /* these are many guests */
    line->words = words;
    line->own_name = o.name;
    line->run = (struct run){.number = (unsigned)b->n,
                             .where = line->where,
                             .words = words + skip,
                             .n_words = n_words - skip,
                             .name = named ? NULL : opts_say("batch-%ld-%u", (long)getpid(), number),
                             .before = added(b, &o)};
    b->lines[b->n++] = line;
}

static void read_lines(struct batch *b, const char *text, size_t size)
{
    size_t most = 1;
    for (size_t i = 0; i < size; i++)
        most += text[i] == '\n';
    b->lines = calloc(most, sizeof *b->lines);
    if (!b->lines)
        die("batch: out of memory");
    unsigned number = 0;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t n = end ? (size_t)(end - text) - at : size - at;
        char **words;
        int n_words;
        const char *error = words_split(text + at, n, &words, &n_words);
        number++;
        at += n + 1;
        if (error)
            mistake(b, number, error);
        else if (n_words)
            add(b, number, words, n_words);
        else
            free(words);
    }
}

static void free_lines(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        free((void *)(uintptr_t)b->lines[i]->run.before);
        free(b->lines[i]->words);
        free(b->lines[i]);
    }
    free(b->lines);
}

static struct run *next(void *ctx)
{
    struct batch *b = ctx;
    return b->at < b->n ? &b->lines[b->at++]->run : NULL;
}

int batch_run(int argc, char **argv, const char **error)
{
    struct batch b = {.options.jobs = 1};
    struct opts_rest rest;
    struct many many;
    size_t size;
    if ((*error = opts_parse(batch_option_table, argc, argv, &b.options, &rest)))
        return STATUS_SETUP;
    if (rest.n_words != 1 || rest.command) {
        *error = "takes the name of one file (- is standard input)";
        return STATUS_SETUP;
    }
    b.file = rest.words[0];
    if ((*error = many_check(b.options.logs, b.options.junit)))
        return STATUS_SETUP;
    char *text = read_file(b.file, &size);
    read_lines(&b, text, size);
    free(text);
    if (b.mistakes > MISTAKES_TOLD)
        warn("%s: and %u more", b.file, b.mistakes - MISTAKES_TOLD);
    /* A list that nobody wrote (`make-list | vmlet batch -`) is no list that passed. */
    if (!b.n && !b.mistakes)
        warn("%s: there is no run in it", b.file);
    if (!b.n || b.mistakes) {
        free_lines(&b);
        return STATUS_SETUP;
    }
    struct many_config config = {.title = opts_say("batch %s", b.file),
                                 .jobs = b.options.jobs,
                                 .total = (unsigned)b.n,
                                 .logs = b.options.logs,
                                 .junit = b.options.junit,
                                 .fail_fast = b.options.fail_fast,
                                 .all = true,
                                 .next = next,
                                 .ctx = &b};
    many_run(&many, &config);
    int status = many_status(&many, MANY_FAILED);
    free_lines(&b);
    return status;
}
