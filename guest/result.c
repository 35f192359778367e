// SPDX-License-Identifier: MIT
/* How a run ended: see include/guest/result.h. */
#include "guest/result.h"

#include "kvm/host/log.h"
#include "kvm/host/patient.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STATUS_DIED = 123,
    STATUS_TIMEOUT = 124,
    STATUS_SETUP = 125,
};

static const struct {
    const char *name;
    int status;       /* vmlet's exit status, where the guest reported none */
    int with_command; /* the same where a status was owed */
    bool guest;       /* the guest reported a status, and that is the answer */
} reasons[END_REASONS] = {
    [END_NONE] = {"none",         STATUS_SETUP,   STATUS_SETUP,   false},
    [END_EXITED] = {"exited",       0,              0,              true },
    [END_SIGNALED] = {"signaled",     0,              0,              true },
    [END_POWEROFF] = {"poweroff",     0,              STATUS_DIED,    false},
    [END_REBOOT] = {"reboot",       0,              STATUS_DIED,    false},
    [END_HALTED] = {"halted",       STATUS_DIED,    STATUS_DIED,    false},
    [END_PANIC] = {"panic",        STATUS_DIED,    STATUS_DIED,    false},
    [END_TRIPLE_FAULT] = {"triple-fault", STATUS_DIED,    STATUS_DIED,    false},
    [END_KVM_ERROR] = {"kvm-error",    STATUS_DIED,    STATUS_DIED,    false},
    [END_TIMEOUT] = {"timeout",      STATUS_TIMEOUT, STATUS_TIMEOUT, false},
    [END_GATE] = {"gate",         STATUS_DIED,    STATUS_DIED,    false},
    [END_STOPPED] = {"stopped",      STATUS_DIED,    STATUS_DIED,    false},
    [END_SIGNAL] = {"signal",       128,            128,            false},
    [END_SETUP] = {"setup",        STATUS_SETUP,   STATUS_SETUP,   false},
};

static char sentence[2 * PATH_MAX + 128];

const char *end_reason_name(enum end_reason reason)
{
    return reasons[reason].name;
}

static void set_detail(struct result *r, const char *text)
{
    snprintf(r->detail, sizeof r->detail, "%s", text);
    log_clean(r->detail, strlen(r->detail));
}

bool result_panic(struct result *r, const char *line)
{
    if (r->panicked || r->reason != END_NONE)
        return false;
    r->panicked = true;
    set_detail(r, line);
    return true;
}

bool result_end(struct result *r, enum end_reason reason, int status, const char *detail)
{
    if (r->reason != END_NONE)
        return false;
    /* What a dead kernel does next is how its death ends, not what happened. */
    bool follows = reason == END_REBOOT || reason == END_POWEROFF || reason == END_HALTED ||
                   reason == END_TRIPLE_FAULT || reason == END_KVM_ERROR;
    if (r->panicked && follows) {
        r->reason = END_PANIC;
        return true;
    }
    r->reason = reason;
    r->status = reason == END_EXITED ? status & 0xff : status;
    if (detail)
        set_detail(r, detail);
    return true;
}

void result_caught(struct result *r, const char *text)
{
    if (r->gate[0])
        return;
    snprintf(r->gate, sizeof r->gate, "%s", text);
    log_clean(r->gate, strlen(r->gate));
}

void result_gate(struct result *r)
{
    bool well = r->reason == END_EXITED || r->reason == END_SIGNALED || r->reason == END_POWEROFF ||
                r->reason == END_REBOOT;
    if (!r->gate[0] || !well)
        return;
    int n = snprintf(r->detail, sizeof r->detail, "%s", r->gate);
    if (reasons[r->reason].guest)
        snprintf(r->detail + n, sizeof r->detail - (size_t)n, " (the guest's status was %d)",
                 r->status & 0xff);
    r->reason = END_GATE;
}

int result_status(const struct result *r)
{
    if (reasons[r->reason].guest)
        return r->status & 0xff;
    if (r->reason == END_SIGNAL)
        return 128 + r->status;
    if (r->reason == END_SETUP && r->status)
        return r->status;
    return r->command ? reasons[r->reason].with_command : reasons[r->reason].status;
}

/* Whether `path` is one of our descriptors under another name (/dev/fd/3, /dev/stdout), in whose folder nothing can be made. */
static bool is_descriptor(const char *path)
{
    char to[16];
    ssize_t n = readlink(path, to, sizeof to);
    return !strncmp(path, "/dev/fd/", 8) || !strncmp(path, "/proc/", 6) ||
           (n >= 6 && !memcmp(to, "/proc/", 6));
}

/* Whether `path` is there and is no regular file: then it is written as it stands. */
static bool in_place(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (!S_ISREG(st.st_mode) || is_descriptor(path));
}

static void temporary(char *tmp, size_t size, const char *path)
{
    snprintf(tmp, size, "%.*s.tmp-%ld", PATH_MAX, path, (long)getpid());
}

const char *result_file_check(const char *path)
{
    struct stat st;
    char dir[PATH_MAX];
    if (!*path)
        return "--result: the name is empty (name a file)";
    if (snprintf(dir, sizeof dir, "%s", path) >= (int)sizeof dir)
        return "--result: the path is too long";
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        snprintf(sentence, sizeof sentence, "--result %s: it is a folder (name a file)", path);
        return sentence;
    }
    if (access(path, W_OK) < 0 && errno != ENOENT) {
        snprintf(sentence, sizeof sentence, "--result %s: %s", path, strerror(errno));
        return sentence;
    }
    if (in_place(path))
        return NULL;
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    if (access(slash ? dir : ".", W_OK | X_OK) < 0) {
        snprintf(sentence, sizeof sentence, "--result %s: its folder cannot be written: %s", path,
                 strerror(errno));
        return sentence;
    }
    /* Names too long by the suffix, a folder that is gone, a file system without an inode left: only trying tells. */
    char tmp[PATH_MAX + 32];
    temporary(tmp, sizeof tmp, path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) {
        snprintf(sentence, sizeof sentence, "--result %s: %s: %s", path, tmp, strerror(errno));
        return sentence;
    }
    close(fd);
    unlink(tmp);
    return NULL;
}

const char *result_file_write(const char *path, const struct result *r, uint64_t patience)
{
    char text[1024], tmp[PATH_MAX + 32];
    int n = snprintf(
        text, sizeof text, "source=%s\nstatus=%d\nreason=%s\ndetail=%s\ntime_ms=%llu\nboot_ms=%llu\n",
        reasons[r->reason].guest ? "guest" : "vmlet", result_status(r), end_reason_name(r->reason), r->detail,
        (unsigned long long)r->time_ms, (unsigned long long)r->boot_ms);
    bool direct = in_place(path);
    if (direct)
        snprintf(tmp, sizeof tmp, "%s", path);
    else
        temporary(tmp, sizeof tmp, path);
    /* O_EXCL: a link that somebody laid there is not followed. */
    int fd = patient_open(tmp, direct ? O_WRONLY | O_APPEND : O_WRONLY | O_CREAT | O_EXCL, patience);
    bool ok = fd >= 0 && patient_write(fd, text, (size_t)n, patience);
    if (fd >= 0 && close(fd) < 0)
        ok = false;
    if (ok && !direct)
        ok = rename(tmp, path) == 0;
    if (ok)
        return NULL;
    snprintf(sentence, sizeof sentence, "--result %s: %s", path,
             errno == ETIMEDOUT ? "nobody reads it" : strerror(errno));
    if (!direct && fd >= 0)
        unlink(tmp);
    return sentence;
}
