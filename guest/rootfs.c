// SPDX-License-Identifier: MIT
/* Root folders: see include/guest/rootfs.h. Made under another name, and renamed when all of it is there. */
#include "guest/rootfs.h"

#include "guest/busybox.h"
#include "guest/machine.h"
#include "guest/share.h"
#include "kvm/host/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUSYBOX_MAX = 64 << 20, /* bytes */
};

static const struct {
    const char *path;
    mode_t mode;
} folders[] = {
    {"bin",     0755 },
    {"dev",     0755 },
    {"etc",     0755 },
    {"home",    0755 },
    {"proc",    0755 },
    {"root",    0700 },
    {"run",     0755 },
    {"sys",     0755 },
    {"tmp",     01777},
    {"usr",     0755 },
    {"var",     0755 },
    {"var/tmp", 01777},
};

static const struct {
    const char *path, *to;
} links[] = {
    {"sbin",     "bin"   },
    {"usr/bin",  "../bin"},
    {"usr/sbin", "../bin"},
};

static const struct {
    const char *path;
    mode_t mode;
    const char *text;
} files[] = {
    {"etc/passwd",      0644, "root::0:0:root:/root:/bin/sh\n"                   },
    {"etc/group",       0644, "root:x:0:\n"                                      },
    {"etc/hosts",       0644, "127.0.0.1 localhost\n::1 localhost\n"             },
    {"etc/resolv.conf", 0644, "nameserver 10.0.2.3\n"                            },
    {"bin/init",        0755,
     "#!/bin/sh\n# What the guest runs first: a shell, and the end when it ends. Yours to change.\n"
     "export PATH=/bin HOME=/root TERM=${TERM:-linux}\ncd /root\n"
     "setsid -c /bin/sh -l </dev/console >/dev/console 2>&1\nsync\npoweroff -f\n"},
};

static const char *failed(const char *root, const char *path)
{
    return opts_say("setup: %s/%s: %s", root, path, strerror(errno));
}

static bool write_text(int root, const char *path, mode_t mode, const char *text, size_t n)
{
    int fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0)
        return false;
    ssize_t wrote = 1;
    for (; n && wrote > 0; text += wrote, n -= (size_t)wrote)
        wrote = write(fd, text, n);
    return (close(fd) == 0) & (n == 0);
}

/* The file's bytes; NULL: errno. */
static char *slurp(const char *path, size_t *n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *bytes = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0 && st.st_size <= BUSYBOX_MAX) {
        *n = (size_t)st.st_size;
        bytes = malloc(*n);
        if (bytes && pread(fd, bytes, *n, 0) != st.st_size) {
            free(bytes);
            bytes = NULL;
            errno = EIO;
        }
    }
    if (fd >= 0)
        close(fd);
    return bytes;
}

static const char *add_busybox(int root, const char *name, const char *busybox)
{
    size_t n = 0, table_size = 0;
    char *bytes = slurp(busybox, &n);
    if (!bytes)
        return opts_say("setup: %s: %s", busybox, strerror(errno));
    const char *error = write_text(root, "bin/busybox", 0755, bytes, n) ? NULL : failed(name, "bin/busybox");
    const char *table = error ? NULL : busybox_table(bytes, n, &table_size);
    if (!error && !table)
        error = opts_say("setup: %s: its list of applets is not where it is looked for", busybox);
    for (size_t at = 0; !error && at < table_size; at += strlen(table + at) + 1) {
        char link[NAME_MAX];
        if (snprintf(link, sizeof link, "bin/%s", table + at) < (int)sizeof link &&
            symlinkat("busybox", root, link) < 0 && errno != EEXIST)
            error = failed(name, link);
    }
    free(bytes);
    return error;
}

static const char *fill(int root, const char *name, const char *busybox)
{
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        if (mkdirat(root, folders[i].path, 0755) < 0 ||
            fchmodat(root, folders[i].path, folders[i].mode, 0) < 0)
            return failed(name, folders[i].path);
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (symlinkat(links[i].to, root, links[i].path) < 0)
            return failed(name, links[i].path);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (!write_text(root, files[i].path, files[i].mode, files[i].text, strlen(files[i].text)))
            return failed(name, files[i].path);
    return add_busybox(root, name, busybox);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st, (void)type, (void)at;
    return remove(path);
}

/* Where NAME's folder is, with the folders above it made if wanted. NULL: there is no place. */
static const char *place_of(const char *name, bool make)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    bool own = data && *data == '/';
    if (!own && (!home || *home != '/'))
        return NULL;
    char *path = (char *)(uintptr_t)(own ? opts_say("%s/vmlet/%s", data, name)
                                         : opts_say("%s/.local/share/vmlet/%s", home, name));
    for (char *p = path + 1; make && (p = strchr(p, '/')); p++) {
        *p = 0;
        (void)!mkdir(path, 0755);
        *p = '/';
    }
    return path;
}

const char *rootfs_setup(const char *name, FILE *out)
{
    const char *busybox = busybox_find(), *error = ctl_name_error(name);
    if (error)
        return error;
    if (!busybox)
        return "setup: there is no static busybox on this host (Debian: busybox-static)";
    const char *path = place_of(name, true);
    if (!path)
        return "setup: HOME is not set, so there is no place for it";
    const char *part = opts_say("%s.part-%ld", path, (long)getpid());
    if (access(path, F_OK) == 0)
        return opts_say("setup: %s: is there already (remove it, or take another name)", path);
    if (mkdir(part, 0755) < 0)
        return opts_say("setup: %s: %s", part, strerror(errno));
    int root = open(part, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    error = root < 0 ? failed(part, "") : fill(root, part, busybox);
    if (root >= 0)
        close(root);
    if (!error && rename(part, path) < 0)
        error = opts_say("setup: %s: %s", path, strerror(errno));
    if (error) {
        (void)!nftw(part, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        return error;
    }
    fprintf(out, "%s is a root folder now; `vmlet run -d %s` starts a guest with it.\n", path, name);
    return NULL;
}

/* ---- run -d FOLDER */

static bool is_folder(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* The folder that a value of -d means: itself, or what setup made under that name. NULL: none. */
static const char *folder_of(const char *value)
{
    if (is_folder(value))
        return value;
    const char *made = strchr(value, '/') || ctl_name_error(value) ? NULL : place_of(value, false);
    return access(value, F_OK) && is_folder(made) ? made : NULL;
}

static const char *take(struct machine_options *o, const char *dir)
{
    char real[PATH_MAX];
    if (o->command)
        return opts_say("-d %s: a folder is the guest's root, and its init decides what runs (for a command: "
                        "--share %s)",
                        dir, dir);
    if (o->initrd.n || o->nodefaults)
        return opts_say("-d %s: a folder needs the generated initramfs, so no -i and no --nodefaults", dir);
    if (!realpath(dir, real))
        return opts_say("-d %s: %s", dir, strerror(errno));
    if (!strcmp(real, "/"))
        return "-d /: the host's own root is shared read-only (`vmlet sandbox`, --share /)";
    if (strpbrk(real, " \t\n\","))
        return opts_say("-d %s: no blank, comma or quote may be in its path", dir);
    const char **words = calloc(o->share_words.n + 2, sizeof *words);
    if (!words)
        return "out of memory";
    for (size_t i = 0; i < o->share_words.n; i++)
        words[i] = o->share_words.v[i];
    words[o->share_words.n++] = opts_say("%s", real);
    o->share_words.v = words;
    o->params = opts_say("root=%s rw%s%s", real, o->params ? " " : "", o->params ? o->params : "");
    return NULL;
}

const char *rootfs_options(struct machine_options *o)
{
    for (size_t i = 0; i < o->disks.n; i++) {
        const char *dir = folder_of(o->disks.v[i]);
        if (!dir)
            continue;
        memmove(&o->disks.v[i], &o->disks.v[i + 1], (o->disks.n - i - 1) * sizeof *o->disks.v);
        o->disks.n--;
        const char *error = take(o, dir);
        if (error)
            return error;
        break; /* one root; a second folder is no disk, which is said there */
    }
    return NULL;
}
