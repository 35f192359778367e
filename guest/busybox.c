// SPDX-License-Identifier: MIT
/* busybox keeps the names of its applets as one run of sorted strings, which begins with `[` and `[[` wherever the test
 * applet is built in. That run is looked for in the file: a candidate must go on in order, in an applet's alphabet, for
 * at least 20 names. Running `busybox --list` on the host was rejected (vmlet runs no host program unasked), running `busybox
 * --install` in the guest is what is left when the table is not found (it costs each boot a few milliseconds). */
#include "guest/busybox.h"

#include "guest/elfdyn.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    NAMES_MIN = 20,
    NAME_BYTES = 40,
    FILE_MAX = 64 << 20,
};

const char *busybox_find(void)
{
    static const char *const paths[] = {
        "/bin/busybox",        "/usr/bin/busybox",        "/usr/local/bin/busybox",
        "/bin/busybox.static", "/usr/bin/busybox.static", "/bin/busybox-static"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct elfdyn elf;
        if (access(paths[i], R_OK | X_OK) || !elfdyn_read(paths[i], &elf))
            continue;
        bool usable = !*elf.interp && !elf.count && elf.machine == EM_X86_64 && elf.bits == 64 &&
                      (elf.type == ET_EXEC || elf.type == ET_DYN);
        elfdyn_free(&elf);
        if (usable)
            return paths[i];
    }
    return NULL;
}

/* The length of an applet's name at p, 0 if there is none. */
static size_t name_length(const char *p, const char *end)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-+[";
    size_t n = 0;
    while (p + n < end && n < NAME_BYTES && p[n] && strchr(letters, p[n]))
        n++;
    return n && p + n < end && !p[n] ? n : 0;
}

const char *busybox_table(const char *bytes, size_t n, size_t *table_size)
{
    static const char start[] = "[\0[["; /* with its NUL */
    const char *end = bytes + n;
    for (const char *at = bytes; (at = memmem(at, (size_t)(end - at), start, sizeof start)); at++) {
        const char *p = at, *before = "";
        size_t names = 0, length;
        while ((length = name_length(p, end)) && strcmp(before, p) < 0) {
            before = p;
            p += length + 1;
            names++;
        }
        if (names >= NAMES_MIN) {
            *table_size = (size_t)(p - at);
            return at;
        }
    }
    return NULL;
}

static bool add_links(struct cpio *c, const char *bytes, size_t n, bool *install)
{
    size_t size = 0;
    const char *table = busybox_table(bytes, n, &size);
    *install = !table;
    for (size_t at = 0; at < size; at += strlen(table + at) + 1) {
        char name[16 + NAME_BYTES];
        snprintf(name, sizeof name, "/usr/bin/%s", table + at);
        if (!cpio_has(c, name) && !cpio_symlink(c, name, "busybox"))
            return false;
    }
    return true;
}

bool busybox_add(struct cpio *c, const char *path, bool *install)
{
    struct stat st;
    *install = true;
    if (!cpio_file(c, "/usr/bin/busybox", path))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) || st.st_size <= 0 || st.st_size > FILE_MAX) {
        if (fd >= 0)
            close(fd);
        return true;
    }
    /* Read, not mapped: a file that is cut short meanwhile must not become a SIGBUS. */
    char *bytes = malloc((size_t)st.st_size);
    ssize_t n = bytes ? pread(fd, bytes, (size_t)st.st_size, 0) : -1;
    close(fd);
    bool ok = n <= 0 || add_links(c, bytes, (size_t)n, install);
    free(bytes);
    return ok;
}
