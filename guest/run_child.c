// SPDX-License-Identifier: MIT
/* A run as a child: see include/guest/run_child.h. */
#include "guest/run_child.h"

#include "kvm/host/log.h"
#include "kvm/host/opts.h"
#include "kvm/host/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    REPORT_MAX = 8192,
};

bool run_children_init(struct run_children *all, unsigned n)
{
    all->n = n;
    all->list = calloc(n, sizeof *all->list);
    return all->list != NULL;
}

void run_children_free(struct run_children *all)
{
    free(all->list);
    all->list = NULL;
}

/* ---- logs */

const char *run_logs_check(const char *dir)
{
    if (mkdir(dir, 0777) < 0 && errno != EEXIST)
        return opts_say("--logs %s: %s", dir, strerror(errno));
    struct stat st;
    if (stat(dir, &st) == 0 && !S_ISDIR(st.st_mode))
        return opts_say("--logs %s: not a folder", dir);
    return access(dir, W_OK | X_OK) == 0 ? NULL : opts_say("--logs %s: %s", dir, strerror(errno));
}

static void log_lost(struct run_child *c, const char *why)
{
    warn("%s: its log in %s is lost: %s", c->run->where, c->all->logs, why);
    c->run->log_lost = true;
    if (c->log >= 0)
        close(c->log);
    c->log = -1;
}

static void log_open(struct run_child *c)
{
    char path[PATH_MAX];
    struct stat st;
    if (!c->all->logs)
        return;
    const char *slash = strrchr(c->run->where, '/'), *name = slash ? slash + 1 : c->run->where;
    if (snprintf(path, sizeof path, "%s/%s.log", c->all->logs, name) >= PATH_MAX) {
        log_lost(c, strerror(ENAMETOOLONG));
        return;
    }
    for (char *p = path + strlen(c->all->logs) + 1; *p; p++)
        if (*p == ':' || (unsigned char)*p <= ' ' || *p == 0x7f)
            *p = '-';
    /* Not a link that somebody laid there, nor a FIFO, which might keep us waiting. */
    c->log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (c->log < 0)
        log_lost(c, strerror(errno));
    else if (fstat(c->log, &st) < 0 || !S_ISREG(st.st_mode))
        log_lost(c, "not a regular file");
}

static void log_write(struct run_child *c, const char *bytes, size_t n)
{
    while (c->log >= 0 && n) {
        ssize_t w = write(c->log, bytes, n);
        if (w <= 0) {
            log_lost(c, w < 0 ? strerror(errno) : "nothing was written");
            return;
        }
        bytes += w;
        n -= (size_t)w;
    }
}

/* ---- output */

static void on_output(void *arg, const void *bytes, size_t n)
{
    struct run_child *c = arg;
    const char *p = bytes;
    uint64_t room = c->written < RUN_LOG_MAX ? RUN_LOG_MAX - c->written : 0;
    size_t logged = n < room ? n : (size_t)room;
    log_write(c, p, logged);
    c->left_out += n - logged;
    size_t skip = n > RUN_TAIL ? n - RUN_TAIL : 0;
    ring_put(c->ring, RUN_TAIL, (c->written + skip) % RUN_TAIL, p + skip, n - skip);
    c->written += n;
}

static char *tail(const struct run_child *c)
{
    size_t n = c->written < RUN_TAIL ? (size_t)c->written : RUN_TAIL;
    char *text = malloc(n + 1);
    if (!text)
        return NULL;
    ring_get(c->ring, RUN_TAIL, (c->written - n) % RUN_TAIL, text, n);
    for (size_t i = 0; i < n; i++)
        if (!text[i])
            text[i] = '?';
    text[n] = 0;
    return text;
}

static void log_end(struct run_child *c, const char *last)
{
    if (c->left_out && last) {
        char text[128];
        int n = snprintf(text, sizeof text, "\n[vmlet: %llu bytes are left out up to here; the last ones:]\n",
                         (unsigned long long)c->left_out);
        log_write(c, text, (size_t)n);
        log_write(c, last, strlen(last));
    }
    if (c->log >= 0 && close(c->log) < 0) {
        c->log = -1;
        log_lost(c, strerror(errno));
    }
    c->log = -1;
}

/* ---- the end */

static void copy_value(const char *report, const char *key, char *out, size_t size)
{
    size_t n = strlen(key);
    for (const char *line = report; line && *line; line = strchr(line, '\n'), line += line != NULL)
        if (!strncmp(line, key, n) && line[n] == '=') {
            snprintf(out, size, "%.*s", (int)strcspn(line + n + 1, "\n"), line + n + 1);
            return;
        }
}

/* The last line of the output says why where no result does. */
static void detail_from_tail(struct run *run)
{
    const char *text = run->tail ? run->tail : "", *end = text + strlen(text);
    while (end > text && end[-1] == '\n')
        end--;
    const char *line = end;
    while (line > text && line[-1] != '\n')
        line--;
    snprintf(run->detail, sizeof run->detail, "%.*s", (int)(end - line), line);
    log_clean(run->detail, strlen(run->detail));
}

static char *read_report(int fd)
{
    char *text = malloc(REPORT_MAX + 1);
    ssize_t n = text ? pread(fd, text, REPORT_MAX, 0) : 0;
    if (n <= 0) {
        free(text);
        return NULL;
    }
    text[n] = 0;
    return text;
}

static void on_ended(void *arg, int status)
{
    struct run_child *c = arg;
    struct run *run = c->run;
    run->tail = tail(c);
    log_end(c, run->tail);
    run->report = read_report(c->report);
    close(c->report);
    run->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (run->report) {
        copy_value(run->report, "reason", run->reason, sizeof run->reason);
        copy_value(run->report, "detail", run->detail, sizeof run->detail);
    } else if (WIFSIGNALED(status)) {
        snprintf(run->detail, sizeof run->detail, "killed: %s", strsignal(WTERMSIG(status)));
    } else if (run->status) {
        detail_from_tail(run);
    }
    c->run = NULL;
    c->all->ended(c->all->ctx, run);
}

static const struct child_ops child_ops = {on_output, on_ended};

static size_t count(char *const *words)
{
    size_t n = 0;
    while (words && words[n])
        n++;
    return n;
}

/* `vmlet run --report /proc/self/fd/N [--name NAME] BEFORE… WORDS…`, in one allocation. */
static char **command(const struct run *run, int report)
{
    static char vmlet[] = "vmlet", verb[] = "run", option[] = "--report", name[] = "--name";
    size_t before = count(run->before), n = 0;
    char **argv = calloc(1, (before + (size_t)run->n_words + 7) * sizeof *argv + 40);
    if (!argv)
        return NULL;
    char *path = (char *)(argv + before + (size_t)run->n_words + 7);
    snprintf(path, 40, "/proc/self/fd/%d", report);
    argv[n++] = vmlet;
    argv[n++] = verb;
    argv[n++] = option;
    argv[n++] = path;
    if (run->name) {
        argv[n++] = name;
        argv[n++] = (char *)(uintptr_t)run->name;
    }
    for (size_t i = 0; i < before; i++)
        argv[n++] = run->before[i];
    for (int i = 0; i < run->n_words; i++)
        argv[n++] = run->words[i];
    return argv;
}

bool run_child_start(struct run_children *all, struct run *run)
{
    struct run_child *c = all->list;
    while (c->run)
        c++;
    *c = (struct run_child){.run = run, .all = all, .log = -1};
    c->report = memfd_create("vmlet-result", MFD_CLOEXEC);
    char **argv = c->report < 0 ? NULL : command(run, c->report);
    int error = errno; /* before the log has its own */
    log_open(c);
    bool ok = argv && child_start(&c->child, all->loop, argv, c->report, &child_ops, c);
    if (!ok) {
        snprintf(run->detail, sizeof run->detail, "it could not be started: %s",
                 strerror(argv ? errno : error));
        if (c->log >= 0)
            close(c->log);
        if (c->report >= 0)
            close(c->report);
        c->run = NULL;
    }
    free(argv);
    return ok;
}

void run_child_signal(struct run_children *all, struct run *run, int sig)
{
    for (unsigned i = 0; i < all->n; i++)
        if (all->list[i].run == run)
            child_signal(&all->list[i].child, sig);
}
