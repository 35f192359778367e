// SPDX-License-Identifier: MIT
/* What the guest has open. A handle is its slot and how often that was used before: one that was released, or never given,
 * finds nothing. Slots come in chunks that do not move; a released file is closed when the last answer that uses it is done.
 * It was checked to be a regular file or a folder before it was opened: nothing else ever is. */
#include "virtio/fuse_priv.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CHUNK = 256
};

const char *fuse_fd_name(int fd, struct fuse_fd_name *name)
{
    snprintf(name->text, sizeof name->text, "%d", fd);
    return name->text;
}

const char *fuse_fd_path(int fd, struct fuse_fd_name *name)
{
    snprintf(name->text, sizeof name->text, "/proc/self/fd/%d", fd);
    return name->text;
}

int fuse_reopen(const struct fuse_server *s, int path_fd, int flags)
{
    struct fuse_fd_name name;
    int fd;
    do
        fd = openat(s->proc, fuse_fd_name(path_fd, &name), flags | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? errno == EMFILE ? -ENFILE : -errno : fd;
}

static struct fuse_open *by_fh(const struct fuse_server *s, uint64_t fh, enum fuse_kind kind)
{
    uint32_t slot = (uint32_t)fh;
    if (slot >= s->n_opens_slots)
        return NULL;
    struct fuse_open *open = &s->opens[slot / CHUNK][slot % CHUNK];
    return open->used && !open->released && open->gen == fh >> 32 && open->kind == kind ? open : NULL;
}

static bool grow(struct fuse_server *s)
{
    struct fuse_open *chunk = calloc(CHUNK, sizeof *chunk);
    if (!chunk)
        return false;
    s->opens[s->n_opens_slots / CHUNK] = chunk;
    for (uint32_t i = CHUNK; i-- > 0;) {
        chunk[i].slot = s->n_opens_slots + i;
        chunk[i].gen = 1;
        chunk[i].next = s->free_open;
        s->free_open = chunk[i].slot + 1; /* 0: none */
    }
    s->n_opens_slots += CHUNK;
    return true;
}

int fuse_open_add(struct fuse_server *s, int fd, enum fuse_kind kind, bool writable, uint64_t node,
                  uint64_t *fh)
{
    bool room = fuse_fds_take(FUSE_FDS_OPENS), added = false;
    lock_take(&s->opens_lock);
    if (room && s->n_opens < s->max_files && (s->free_open || grow(s))) {
        uint32_t slot = s->free_open - 1;
        struct fuse_open *open = &s->opens[slot / CHUNK][slot % CHUNK];
        s->free_open = open->next;
        s->n_opens++;
        open->fd = fd;
        open->kind = kind;
        open->writable = writable;
        open->used = true;
        open->released = false;
        atomic_store_explicit(&open->waits, false, memory_order_relaxed);
        open->node = node;
        open->pos = 0;
        open->list = NULL;
        *fh = (uint64_t)open->gen << 32 | slot;
        added = true;
    }
    lock_drop(&s->opens_lock);
    if (added)
        return 0;
    if (room)
        fuse_fds_give();
    close(fd);
    return -ENFILE;
}

struct fuse_open *fuse_open_hold(struct fuse_server *s, uint64_t fh, enum fuse_kind kind)
{
    lock_take(&s->opens_lock);
    struct fuse_open *open = by_fh(s, fh, kind);
    if (open)
        open->refs++;
    lock_drop(&s->opens_lock);
    return open;
}

struct fuse_open *fuse_open_hold_of(struct fuse_server *s, uint64_t node)
{
    struct fuse_open *found = NULL;
    lock_take(&s->opens_lock);
    for (uint32_t slot = 0; slot < s->n_opens_slots && !found; slot++) {
        struct fuse_open *open = &s->opens[slot / CHUNK][slot % CHUNK];
        if (open->used && !open->released && open->node == node)
            found = open;
    }
    if (found)
        found->refs++;
    lock_drop(&s->opens_lock);
    return found;
}

/* A kernel asks for one listing at a time by one handle; who does not is told so rather than made to wait. */
struct fuse_open *fuse_open_hold_alone(struct fuse_server *s, uint64_t fh, int *error)
{
    lock_take(&s->opens_lock);
    struct fuse_open *open = by_fh(s, fh, FUSE_KIND_DIR);
    *error = !open ? -EBADF : open->listed ? -EBUSY : 0;
    if (*error)
        open = NULL;
    else {
        open->refs++;
        open->listed = true;
    }
    lock_drop(&s->opens_lock);
    return open;
}

/* What an open file had, to be given back without the lock. */
struct rest {
    int fd; /* -1: it is still open */
    struct fuse_list *list;
};

/* The lock held. */
static struct rest unused(struct fuse_server *s, struct fuse_open *open)
{
    if (open->refs || !open->released)
        return (struct rest){.fd = -1};
    struct rest rest = {.fd = open->fd, .list = open->list};
    open->used = false;
    open->gen++;
    open->next = s->free_open;
    s->free_open = open->slot + 1;
    s->n_opens--;
    return rest;
}

static void finish(struct fuse_server *s, struct rest rest)
{
    fuse_list_free(s, rest.list);
    if (rest.fd >= 0) {
        close(rest.fd);
        fuse_fds_give();
    }
}

void fuse_open_put(struct fuse_server *s, struct fuse_open *open)
{
    lock_take(&s->opens_lock);
    open->refs--;
    struct rest rest = unused(s, open);
    lock_drop(&s->opens_lock);
    finish(s, rest);
}

void fuse_open_put_alone(struct fuse_server *s, struct fuse_open *open)
{
    lock_take(&s->opens_lock);
    open->listed = false;
    lock_drop(&s->opens_lock);
    fuse_open_put(s, open);
}

int fuse_open_release(struct fuse_server *s, uint64_t fh, enum fuse_kind kind)
{
    struct rest rest = {.fd = -1};
    lock_take(&s->opens_lock);
    struct fuse_open *open = by_fh(s, fh, kind);
    if (open) {
        open->released = true;
        rest = unused(s, open);
    }
    lock_drop(&s->opens_lock);
    finish(s, rest);
    return open ? 0 : -EBADF;
}

void fuse_opens_reset(struct fuse_server *s)
{
    for (uint32_t slot = 0;; slot++) {
        struct rest rest = {.fd = -1};
        lock_take(&s->opens_lock);
        bool more = slot < s->n_opens_slots;
        if (more) {
            struct fuse_open *open = &s->opens[slot / CHUNK][slot % CHUNK];
            if (open->used && !open->released) {
                open->released = true;
                rest = unused(s, open);
            }
        }
        lock_drop(&s->opens_lock);
        finish(s, rest);
        if (!more)
            return;
    }
}

void fuse_opens_free(struct fuse_server *s)
{
    if (!s->opens)
        return;
    fuse_opens_reset(s);
    for (uint32_t i = 0; i < s->n_opens_slots / CHUNK; i++)
        free(s->opens[i]);
    free(s->opens);
}
