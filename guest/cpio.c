// SPDX-License-Identifier: MIT
/* A newc archive as a list of entries, in the order in which the kernel is to unpack them: a folder before what is in it.
 * Names are made plain on the way in (parents made, links followed), so the list needs no second look; a hash
 * over names finds what is there already. */
#include "guest/cpio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    HEAD_BYTES = 110,
    LINKS_MAX = 40,
    NAME_MAX_BYTES = PATH_MAX - 1, /* what the kernel takes, its NUL included */
};

struct entry {
    char *name; /* without a slash in front */
    mode_t mode;
    unsigned major, minor;
    uint32_t mtime, size;
    const void *bytes; /* contents, or NULL: they are in host_path */
    void *owned;       /* bytes, if they are ours */
    char *host_path;
};

struct cpio {
    struct entry *entries;
    uint32_t count, room;
    uint32_t *table; /* entry + 1, 0: free; a power of two, at most half full */
    uint32_t table_size;
    char error[512];
};

static bool fail(struct cpio *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool fail(struct cpio *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (!*c->error)
        vsnprintf(c->error, sizeof c->error, fmt, ap);
    va_end(ap);
    return false;
}

struct cpio *cpio_new(void)
{
    return calloc(1, sizeof(struct cpio));
}

static void entry_clear(struct entry *e)
{
    free(e->owned);
    free(e->host_path);
    e->owned = e->host_path = NULL;
    e->bytes = NULL;
}

void cpio_free(struct cpio *c)
{
    if (!c)
        return;
    for (uint32_t i = 0; i < c->count; i++) {
        entry_clear(&c->entries[i]);
        free(c->entries[i].name);
    }
    free(c->entries);
    free(c->table);
    free(c);
}

const char *cpio_error(const struct cpio *c)
{
    return c->error;
}

/* ---- names ---- */

static uint32_t *slot(const struct cpio *c, const char *name)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (const char *p = name; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
    uint32_t mask = c->table_size - 1;
    for (uint32_t i = (uint32_t)(hash ^ hash >> 32) & mask;; i = (i + 1) & mask)
        if (!c->table[i] || !strcmp(c->entries[c->table[i] - 1].name, name))
            return &c->table[i];
}

static struct entry *find(const struct cpio *c, const char *name)
{
    uint32_t at = c->table_size ? *slot(c, name) : 0;
    return at ? &c->entries[at - 1] : NULL;
}

static bool grow(struct cpio *c)
{
    uint32_t room = c->room ? c->room * 2 : 128;
    struct entry *entries = reallocarray(c->entries, room, sizeof *entries);
    if (entries)
        c->entries = entries;
    uint32_t *table = calloc(2 * room, sizeof *table);
    if (!entries || !table) {
        free(table);
        return fail(c, "initramfs: out of memory");
    }
    free(c->table);
    c->table = table;
    c->table_size = 2 * room;
    c->room = room;
    for (uint32_t i = 0; i < c->count; i++)
        *slot(c, c->entries[i].name) = i + 1;
    return true;
}

/* The entry of that plain name, new ones with mode 0. */
static struct entry *obtain(struct cpio *c, const char *name)
{
    struct entry *e = find(c, name);
    if (e)
        return e;
    if (c->count == c->room && !grow(c))
        return NULL;
    char *copy = strdup(name);
    if (!copy) {
        fail(c, "initramfs: out of memory");
        return NULL;
    }
    e = &c->entries[c->count++];
    *e = (struct entry){.name = copy};
    *slot(c, name) = c->count;
    return e;
}

static void drop_last(char *path)
{
    char *slash = strrchr(path, '/');
    *(slash ? slash : path) = 0;
}

/* Makes name plain into out (PATH_MAX bytes): follows links in all parts but the last (with last_too: there as well) and
 * makes missing folders if make is set. */
static bool plain(struct cpio *c, const char *name, char *out, bool last_too, bool make)
{
    char todo[2 * PATH_MAX], part[NAME_MAX + 1];
    unsigned links = 0;
    if (strlen(name) > NAME_MAX_BYTES - 1)
        return fail(c, "initramfs: %.80s…: name too long", name);
    if (!strcmp(name, "..") || !strncmp(name, "../", 3) || strstr(name, "/../") ||
        (strlen(name) > 3 && !strcmp(name + strlen(name) - 3, "/..")))
        return fail(c, "initramfs: %s: a name may not hold `..`", name);
    strcpy(todo, name);
    *out = 0;
    for (char *at = todo;;) {
        at += strspn(at, "/");
        size_t n = strcspn(at, "/");
        if (!n)
            return true;
        bool last = !at[n + strspn(at + n, "/")];
        if (n > NAME_MAX || strlen(out) + 1 + n > NAME_MAX_BYTES - 1)
            return fail(c, "initramfs: %.80s…: name too long", name);
        memcpy(part, at, n);
        part[n] = 0;
        at += n;
        if (!strcmp(part, "."))
            continue;
        if (!strcmp(part, "..")) { /* out of a link's target */
            drop_last(out);
            continue;
        }
        if (*out)
            strcat(out, "/");
        strcat(out, part);
        struct entry *e = find(c, out);
        if (e && S_ISLNK(e->mode) && (!last || last_too)) {
            char rest[PATH_MAX];
            if (++links > LINKS_MAX)
                return fail(c, "initramfs: %s: too many levels of symbolic links", name);
            if (e->size + 1 + strlen(at) >= sizeof rest)
                return fail(c, "initramfs: %.80s…: name too long", name);
            memcpy(rest, e->bytes, e->size);
            rest[e->size] = '/';
            strcpy(rest + e->size + 1, at);
            if (rest[0] == '/')
                *out = 0;
            else
                drop_last(out);
            strcpy(todo, rest);
            at = todo;
            continue;
        }
        if (last)
            continue;
        if (!e && make) {
            if (!(e = obtain(c, out)))
                return false;
            e->mode = S_IFDIR | 0755;
        } else if (e && !S_ISDIR(e->mode)) {
            return fail(c, "initramfs: %s: %s is not a folder", name, out);
        }
    }
}

/* A place for something that is no folder; what was there is cleared. */
static struct entry *place(struct cpio *c, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    if (*c->error || !plain(c, name, path, false, true))
        return NULL;
    if (!*path) {
        fail(c, "initramfs: %s: is the root folder", name);
        return NULL;
    }
    struct entry *e = obtain(c, path);
    if (!e)
        return NULL;
    if (S_ISDIR(e->mode)) {
        fail(c, "initramfs: %s: is a folder already", name);
        return NULL;
    }
    entry_clear(e);
    e->mode = mode;
    e->size = e->mtime = e->major = e->minor = 0;
    return e;
}

/* ---- what can be added ---- */

bool cpio_dir(struct cpio *c, const char *name, mode_t mode)
{
    char path[PATH_MAX];
    if (*c->error || !plain(c, name, path, true, true))
        return false;
    struct entry *e = *path ? obtain(c, path) : NULL;
    if (!*path)
        return true;
    if (!e)
        return false;
    if (e->mode && !S_ISDIR(e->mode))
        return fail(c, "initramfs: %s: is there already and is not a folder", name);
    e->mode = S_IFDIR | (mode & 07777);
    return true;
}

static bool own_bytes(struct cpio *c, struct entry *e, const void *bytes, size_t n)
{
    e->owned = malloc(n ? n : 1);
    if (!e->owned)
        return fail(c, "initramfs: out of memory");
    memcpy(e->owned, bytes, n);
    e->bytes = e->owned;
    e->size = (uint32_t)n;
    return true;
}

bool cpio_symlink(struct cpio *c, const char *name, const char *target)
{
    size_t n = strlen(target);
    if (!n || n >= PATH_MAX)
        return fail(c, "initramfs: %s: a link to a name of %zu bytes", name, n);
    struct entry *e = place(c, name, S_IFLNK | 0777);
    return e && own_bytes(c, e, target, n);
}

bool cpio_node(struct cpio *c, const char *name, mode_t type_and_mode, unsigned major, unsigned minor)
{
    struct entry *e = place(c, name, type_and_mode);
    if (!e)
        return false;
    e->bytes = "";
    e->major = major;
    e->minor = minor;
    return true;
}

static struct entry *place_bytes(struct cpio *c, const char *name, mode_t mode, size_t n)
{
    if (n > UINT32_MAX) {
        fail(c, "initramfs: %s: 4 GiB or larger", name);
        return NULL;
    }
    return place(c, name, S_IFREG | (mode & 07777));
}

bool cpio_static(struct cpio *c, const char *name, mode_t mode, const void *bytes, size_t n)
{
    struct entry *e = place_bytes(c, name, mode, n);
    if (!e)
        return false;
    e->bytes = bytes;
    e->size = (uint32_t)n;
    return true;
}

bool cpio_bytes(struct cpio *c, const char *name, mode_t mode, const void *bytes, size_t n)
{
    struct entry *e = place_bytes(c, name, mode, n);
    return e && own_bytes(c, e, bytes, n);
}

static bool add_file(struct cpio *c, const char *name, const char *host_path, const struct stat *st)
{
    if ((uint64_t)st->st_size > UINT32_MAX)
        return fail(c, "initramfs: %s: 4 GiB or larger, which this archive cannot hold (use a disk)",
                    host_path);
    if (access(host_path, R_OK))
        return fail(c, "initramfs: %s: %s", host_path, strerror(errno));
    struct entry *e = place(c, name, S_IFREG | (st->st_mode & 07777));
    if (!e)
        return false;
    e->size = (uint32_t)st->st_size;
    e->mtime = st->st_mtime > 0 && st->st_mtime <= UINT32_MAX ? (uint32_t)st->st_mtime : 0;
    e->host_path = realpath(host_path, NULL); /* the current folder may be another one by then */
    return e->host_path || fail(c, "initramfs: %s: %s", host_path, strerror(errno));
}

bool cpio_file(struct cpio *c, const char *name, const char *host_path)
{
    struct stat st;
    if (*c->error)
        return false;
    if (stat(host_path, &st))
        return fail(c, "initramfs: %s: %s", host_path, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return fail(c, "initramfs: %s: not a regular file", host_path);
    return add_file(c, name, host_path, &st);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name); /* not alphasort(): the same in every locale */
}

static bool add_tree(struct cpio *c, const char *name, const char *host_path, bool follow);

static bool add_folder(struct cpio *c, const char *name, const char *host_path, mode_t mode)
{
    struct dirent **list = NULL;
    if (!cpio_dir(c, name, mode))
        return false;
    int n = scandir(host_path, &list, NULL, by_name);
    if (n < 0)
        return fail(c, "initramfs: %s: %s", host_path, strerror(errno));
    bool ok = true;
    for (int i = 0; i < n; i++) {
        const char *leaf = list[i]->d_name;
        char *below = NULL, *host = NULL;
        if (ok && strcmp(leaf, ".") && strcmp(leaf, "..")) {
            if (asprintf(&below, "%s/%s", name, leaf) < 0 || asprintf(&host, "%s/%s", host_path, leaf) < 0)
                ok = fail(c, "initramfs: out of memory");
            else
                ok = add_tree(c, below, host, false);
        }
        free(below);
        free(host);
        free(list[i]);
    }
    free(list);
    return ok;
}

static bool add_tree(struct cpio *c, const char *name, const char *host_path, bool follow)
{
    struct stat st;
    char target[PATH_MAX];
    if (follow ? stat(host_path, &st) : lstat(host_path, &st))
        return fail(c, "initramfs: %s: %s", host_path, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return add_folder(c, name, host_path, st.st_mode);
    if (S_ISREG(st.st_mode))
        return add_file(c, name, host_path, &st);
    if (!S_ISLNK(st.st_mode))
        return !follow || fail(c, "initramfs: %s: neither a file nor a folder", host_path);
    ssize_t n = readlink(host_path, target, sizeof target - 1);
    if (n < 0)
        return fail(c, "initramfs: %s: %s", host_path, strerror(errno));
    target[n] = 0;
    return cpio_symlink(c, name, target);
}

bool cpio_tree(struct cpio *c, const char *name, const char *host_path)
{
    return !*c->error && add_tree(c, name, host_path, true);
}

bool cpio_has(struct cpio *c, const char *name)
{
    char path[PATH_MAX];
    return !*c->error && plain(c, name, path, false, false) && (!*path || find(c, path));
}

/* ---- the bytes ---- */

static uint64_t pad4(uint64_t n)
{
    return (n + 3) & ~3ull;
}

static uint64_t entry_bytes(const char *name, uint32_t size)
{
    return pad4(HEAD_BYTES + strlen(name) + 1) + pad4(size);
}

uint64_t cpio_size(const struct cpio *c)
{
    uint64_t sum = entry_bytes("TRAILER!!!", 0);
    for (uint32_t i = 0; i < c->count; i++)
        sum += entry_bytes(c->entries[i].name, c->entries[i].size);
    return sum;
}

static uint8_t *put_head(uint8_t *out, const struct entry *e, uint32_t ino)
{
    char head[HEAD_BYTES + 1];
    size_t name = strlen(e->name) + 1, padded = pad4(HEAD_BYTES + name);
    snprintf(head, sizeof head, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ino, e->mode, 0,
             0, S_ISDIR(e->mode) ? 2 : 1, e->mtime, e->size, 0, 0, e->major, e->minor, (uint32_t)name, 0);
    memset(out + padded - 4, 0, 4);
    memcpy(out, head, HEAD_BYTES);
    memcpy(out + HEAD_BYTES, e->name, name);
    return out + padded;
}

static bool put_file(struct cpio *c, const struct entry *e, uint8_t *out)
{
    int fd = open(e->host_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail(c, "initramfs: %s: %s", e->host_path, strerror(errno));
    uint64_t at = 0;
    while (at < e->size) {
        ssize_t n = pread(fd, out + at, e->size - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            fail(c, "initramfs: %s: %s", e->host_path, strerror(errno));
        else if (!n)
            fail(c, "initramfs: %s: became shorter while it was read", e->host_path);
        if (n <= 0)
            break;
        at += (uint64_t)n;
    }
    close(fd);
    return at == e->size;
}

bool cpio_write(struct cpio *c, void *to)
{
    static const struct entry trailer = {.name = (char *)(uintptr_t) "TRAILER!!!"};
    uint8_t *out = to;
    if (*c->error)
        return false;
    for (uint32_t i = 0; i < c->count; i++) {
        const struct entry *e = &c->entries[i];
        out = put_head(out, e, i + 1);
        memset(out + e->size, 0, pad4(e->size) - e->size);
        if (e->host_path && !put_file(c, e, out))
            return false;
        if (!e->host_path && e->size)
            memcpy(out, e->bytes, e->size);
        out += pad4(e->size);
    }
    put_head(out, &trailer, 0);
    return true;
}
