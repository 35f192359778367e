// SPDX-License-Identifier: MIT
/* Files that tell how a run ended: see include/guest/report_file.h. */
#include "guest/report_file.h"

#include "kvm/host/patient.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *say(const char *fmt, ...)
{
    static char sentence[2 * PATH_MAX + 128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(sentence, sizeof sentence, fmt, ap);
    va_end(ap);
    return sentence;
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

/* The descriptor that a report will need: a guest may make us open files and sockets until there is none left. */
static int spare = -1;

static void spare_take(void)
{
    if (spare < 0)
        spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void spare_give(void)
{
    if (spare >= 0)
        close(spare);
    spare = -1;
}

const char *report_file_check(const char *option, const char *path)
{
    struct stat st;
    char dir[PATH_MAX];
    if (!*path)
        return say("%s: the name is empty (name a file)", option);
    if (snprintf(dir, sizeof dir, "%s", path) >= (int)sizeof dir)
        return say("%s: the path is too long", option);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return say("%s %s: it is a folder (name a file)", option, path);
    if (access(path, W_OK) < 0 && errno != ENOENT)
        return say("%s %s: %s", option, path, strerror(errno));
    if (in_place(path)) {
        spare_take();
        return NULL;
    }
    char *slash = strrchr(dir, '/');
    if (slash)
        slash[slash == dir] = 0;
    if (access(slash ? dir : ".", W_OK | X_OK) < 0)
        return say("%s %s: its folder cannot be written: %s", option, path, strerror(errno));
    /* Names too long by the suffix, a folder that is gone, a file system without an inode left: only trying tells. */
    char tmp[PATH_MAX + 32];
    temporary(tmp, sizeof tmp, path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return say("%s %s: %s: %s", option, path, tmp, strerror(errno));
    close(fd);
    unlink(tmp);
    spare_take();
    return NULL;
}

const char *report_file_write(const char *option, const char *path, const char *text, size_t n,
                              uint64_t patience)
{
    char tmp[PATH_MAX + 32];
    bool direct = in_place(path);
    if (direct)
        snprintf(tmp, sizeof tmp, "%s", path);
    else
        temporary(tmp, sizeof tmp, path);
    spare_give();
    /* O_EXCL: a link that somebody laid there is not followed. */
    int fd = patient_open(tmp, direct ? O_WRONLY | O_APPEND : O_WRONLY | O_CREAT | O_EXCL, patience);
    bool ok = fd >= 0 && patient_write(fd, text, n, patience);
    if (fd >= 0 && close(fd) < 0)
        ok = false;
    if (ok && !direct)
        ok = rename(tmp, path) == 0;
    if (ok)
        return NULL;
    const char *why =
        say("%s %s: %s", option, path, errno == ETIMEDOUT ? "nobody reads it" : strerror(errno));
    if (!direct && fd >= 0)
        unlink(tmp);
    return why;
}
