// SPDX-License-Identifier: MIT
/* The files and folders that the guest knows, each once. A node's number is its slot and how often that was used before, so
 * a number never comes back with another meaning and is found without a search; a hash of what makes a file itself (device,
 * inode, mount) finds the node of what a name stands for.
 *
 * A node holds the file by an O_PATH descriptor: then its inode number cannot be given to another file, and renames and
 * removals on the host's side leave it what it is. Where descriptors run out, and we may (CAP_DAC_READ_SEARCH, a file system
 * that has them), it keeps a file handle instead (fuse_handle.c); that has a generation in it, which is compared.
 *
 * Slots come in chunks that never move, so that a held node may be read without the lock; the lock is held for table work
 * only, never over a system call. Slot 0 is nobody, slot 1 the folder itself: FUSE_ROOT_ID. */
#include "virtio/fuse_priv.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "virtio/fuse_handle.h"

enum {
    CHUNK = 1024,
    BUCKETS_FIRST = 1024,
    SETTLED_S = 3, /* more than any file system's clock is coarse */
};

/* --- slots, the lock held */

static struct fuse_node *slot_node(const struct fuse_server *s, uint32_t slot)
{
    return &s->chunks[slot / CHUNK][slot % CHUNK];
}

static uint64_t node_id(const struct fuse_node *node)
{
    return (uint64_t)node->gen << 32 | node->slot;
}

static uint32_t hash(const struct fuse_server *s, const struct fuse_key *key)
{
    uint64_t h =
        key->ino * 0x9e3779b97f4a7c15 ^ key->dev * 0xc2b2ae3d27d4eb4f ^ key->mnt * 0x165667b19e3779f9;
    return (uint32_t)(h >> 32 ^ h >> 12) & (s->n_buckets - 1);
}

static void rehash(struct fuse_server *s)
{
    uint32_t n = s->n_buckets * 2;
    uint32_t *more = calloc(n, sizeof *more);
    if (!more)
        return; /* chains get longer */
    free(s->buckets);
    s->buckets = more;
    s->n_buckets = n;
    for (uint32_t slot = 1; slot < s->n_slots; slot++) {
        struct fuse_node *node = slot_node(s, slot);
        if (node->used && node->hashed) {
            uint32_t *head = &s->buckets[hash(s, &node->key)];
            node->next = *head;
            *head = slot;
        }
    }
}

static void hash_out(struct fuse_server *s, struct fuse_node *node)
{
    if (!node->hashed)
        return;
    uint32_t *at = &s->buckets[hash(s, &node->key)];
    while (*at != node->slot)
        at = &slot_node(s, *at)->next;
    *at = node->next;
    node->hashed = false;
}

static void hash_in(struct fuse_server *s, struct fuse_node *node)
{
    if (s->n_nodes > s->n_buckets)
        rehash(s);
    uint32_t *head = &s->buckets[hash(s, &node->key)];
    node->next = *head;
    *head = node->slot;
    node->hashed = true;
}

static struct fuse_node *find(const struct fuse_server *s, const struct fuse_key *key)
{
    for (uint32_t slot = s->buckets[hash(s, key)]; slot;) {
        struct fuse_node *node = slot_node(s, slot);
        if (node->key.ino == key->ino && node->key.dev == key->dev && node->key.mnt == key->mnt)
            return node;
        slot = node->next;
    }
    return NULL;
}

/* A slot, not yet hashed; NULL: the table is full. */
static struct fuse_node *slot_take(struct fuse_server *s)
{
    if (s->n_nodes >= s->max_nodes)
        return NULL;
    if (!s->free_node) {
        struct fuse_node *chunk = calloc(CHUNK, sizeof *chunk);
        if (!chunk)
            return NULL;
        s->chunks[s->n_slots / CHUNK] = chunk;
        for (uint32_t i = CHUNK; i-- > 0;) {
            chunk[i].slot = s->n_slots + i;
            if (chunk[i].slot) {
                chunk[i].next = s->free_node;
                s->free_node = chunk[i].slot;
            }
        }
        s->n_slots += CHUNK;
    }
    struct fuse_node *node = slot_node(s, s->free_node);
    s->free_node = node->next;
    s->n_nodes++;
    uint32_t slot = node->slot, gen = node->gen;
    *node = (struct fuse_node){.slot = slot, .gen = gen, .fd = -1, .used = true};
    return node;
}

/* What a freed node leaves to be closed, without the lock. */
struct left {
    int fd;
    struct file_handle *handle;
};

static void left_close(struct left left)
{
    if (left.fd >= 0) {
        close(left.fd);
        fuse_fds_give();
    }
    free(left.handle);
}

static struct left slot_give(struct fuse_server *s, struct fuse_node *node)
{
    struct left left = {node->fd, node->handle};
    hash_out(s, node);
    node->fd = -1;
    node->handle = NULL;
    node->used = false;
    node->gen++;
    node->next = s->free_node;
    s->free_node = node->slot;
    s->n_nodes--;
    return left;
}

static struct left unused(struct fuse_server *s, struct fuse_node *node)
{
    return node->lookups || node->refs || node == s->top ? (struct left){-1, NULL} : slot_give(s, node);
}

static struct fuse_node *by_id(const struct fuse_server *s, uint64_t id)
{
    uint32_t slot = (uint32_t)id;
    if (!slot || slot >= s->n_slots)
        return NULL;
    struct fuse_node *node = slot_node(s, slot);
    return node->used && node->gen == id >> 32 ? node : NULL;
}

/* --- holding */

struct fuse_node *fuse_node_hold(struct fuse_server *s, uint64_t id)
{
    lock_take(&s->nodes_lock);
    struct fuse_node *node = by_id(s, id);
    if (node)
        node->refs++;
    lock_drop(&s->nodes_lock);
    return node;
}

void fuse_node_put(struct fuse_server *s, struct fuse_node *node)
{
    lock_take(&s->nodes_lock);
    node->refs--;
    struct left left = unused(s, node);
    lock_drop(&s->nodes_lock);
    left_close(left);
}

void fuse_node_forget(struct fuse_server *s, uint64_t id, uint64_t lookups)
{
    lock_take(&s->nodes_lock);
    struct fuse_node *node = by_id(s, id);
    struct left left = {-1, NULL};
    if (node) {
        node->lookups -= lookups < node->lookups ? lookups : node->lookups;
        left = unused(s, node);
    }
    lock_drop(&s->nodes_lock);
    left_close(left);
}

int fuse_node_fd(struct fuse_server *s, const struct fuse_node *node)
{
    if (node->fd >= 0)
        return node->fd;
    struct stat st;
    int fd = fuse_handle_open(s, node->key.mnt, node->handle);
    if (fd < 0 || (fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == node->type))
        return fd;
    close(
        fd); /* file systems without generations give the handle of a file that is gone to a new one, be it a device */
    return -ESTALE;
}

void fuse_node_fd_done(const struct fuse_node *node, int fd)
{
    if (fd != node->fd)
        close(fd);
}

/* --- attributes */

int fuse_statx(int fd, const char *name, struct statx *sx)
{
    if (statx(fd, name, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_MNT_ID, sx) < 0)
        return -errno;
    if (!(sx->stx_mask & STATX_MNT_ID))
        sx->stx_mnt_id = 0; /* Linux before 5.8 */
    return 0;
}

static struct fuse_key key_of(const struct statx *sx)
{
    return (struct fuse_key){makedev(sx->stx_dev_major, sx->stx_dev_minor), sx->stx_ino, sx->stx_mnt_id};
}

/* Inode numbers are unique within a device only; the guest sees one device. */
uint64_t fuse_ino(const struct fuse_node *near, uint64_t ino)
{
    return ino ^ (uint64_t)near->dev_index << 48;
}

void fuse_valid(const struct fuse_server *s, uint64_t *sec, uint32_t *nsec)
{
    *sec = 0;
    *nsec = (uint32_t)s->valid_ns;
}

void fuse_attr(const struct fuse_node *node, const struct statx *sx, struct fuse_attr *attr)
{
    uint32_t minor = sx->stx_rdev_minor;
    *attr = (struct fuse_attr){.ino = fuse_ino(node, sx->stx_ino),
                               .size = sx->stx_size,
                               .blocks = sx->stx_blocks,
                               .atime = (uint64_t)sx->stx_atime.tv_sec,
                               .mtime = (uint64_t)sx->stx_mtime.tv_sec,
                               .ctime = (uint64_t)sx->stx_ctime.tv_sec,
                               .atimensec = sx->stx_atime.tv_nsec,
                               .mtimensec = sx->stx_mtime.tv_nsec,
                               .ctimensec = sx->stx_ctime.tv_nsec,
                               .mode = sx->stx_mode,
                               .nlink = sx->stx_nlink,
                               .uid = sx->stx_uid,
                               .gid = sx->stx_gid,
                               .rdev = (minor & 0xff) | sx->stx_rdev_major << 8 | (minor & ~0xffu) << 12,
                               .blksize = sx->stx_blksize};
}

bool fuse_node_settled(struct fuse_server *s, struct fuse_node *node, const struct statx *sx)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    const struct statx_timestamp *changed = &sx->stx_ctime;
    bool settled = changed->tv_sec < now.tv_sec - SETTLED_S;
    lock_take(&s->nodes_lock);
    bool same = node->settled && node->changed.tv_sec == changed->tv_sec &&
                node->changed.tv_nsec == changed->tv_nsec && node->size == sx->stx_size;
    node->settled = settled;
    node->changed = *changed;
    node->size = sx->stx_size;
    lock_drop(&s->nodes_lock);
    return same;
}

static void entry(const struct fuse_server *s, const struct fuse_node *node, uint64_t id,
                  const struct statx *sx, struct fuse_entry_out *out)
{
    memset(out, 0, sizeof *out);
    out->nodeid = id;
    fuse_valid(s, &out->entry_valid, &out->entry_valid_nsec);
    fuse_valid(s, &out->attr_valid, &out->attr_valid_nsec);
    fuse_attr(node, sx, &out->attr);
}

/* --- finding and making */

/* The lock held. */
static uint16_t dev_index(struct fuse_server *s, uint64_t dev)
{
    unsigned i = 0, most = sizeof s->devs / sizeof *s->devs;
    while (i < s->n_devs && s->devs[i] != dev)
        i++;
    if (i == s->n_devs && i < most)
        s->devs[s->n_devs++] = dev;
    return (uint16_t)(i < most ? i : dev % 0xff00 + most);
}

/* What a file system is: a mount of what the kernel shows of itself (whole-machine powers, files that block), to be sealed; or
 * one that is on this machine, whose inodes in memory say all of a file. Others (networks, FUSE, layers over them) may ask. */
static void file_system_of(int fd, bool *sealed, bool *local)
{
    static const uint32_t magics[] = {
        PROC_SUPER_MAGIC,     SYSFS_MAGIC,         DEBUGFS_MAGIC, TRACEFS_MAGIC,  SECURITYFS_MAGIC,
        CGROUP_SUPER_MAGIC,   CGROUP2_SUPER_MAGIC, BPF_FS_MAGIC,  EFIVARFS_MAGIC, PSTOREFS_MAGIC,
        BINFMTFS_MAGIC,       SELINUX_MAGIC,       SMACK_MAGIC,   NSFS_MAGIC,     DEVPTS_SUPER_MAGIC,
        RDTGROUP_SUPER_MAGIC, XENFS_SUPER_MAGIC,   0x62656570 /* configfs */};
    static const uint32_t locals[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC, TMPFS_MAGIC,
                                      F2FS_SUPER_MAGIC};
    struct statfs sf;
    *sealed = fstatfs(fd, &sf) < 0;
    *local = false;
    if (*sealed)
        return;
    for (unsigned i = 0; i < sizeof magics / sizeof *magics; i++)
        *sealed |= magics[i] == (uint32_t)sf.f_type;
    for (unsigned i = 0; i < sizeof locals / sizeof *locals; i++)
        *local |= locals[i] == (uint32_t)sf.f_type;
}

/* Is the file that this node stands for still the one that has its key? By its descriptor it must be. */
static bool same_file(const struct fuse_node *node, const struct file_handle *handle)
{
    return !node->handle || (handle && fuse_handle_equal(node->handle, handle));
}

/* One lookup more for the node of that key, if there is one. */
static bool known(struct fuse_server *s, const struct fuse_key *key, const struct file_handle *handle,
                  const struct statx *sx, struct fuse_entry_out *out, bool *by_handle)
{
    lock_take(&s->nodes_lock);
    struct fuse_node *node = find(s, key);
    *by_handle = node && node->handle;
    bool same = node && same_file(node, handle);
    if (same) {
        node->lookups++;
        entry(s, node, node_id(node), sx, out);
    }
    lock_drop(&s->nodes_lock);
    return same;
}

/* Takes fd (O_PATH), of which sx is. */
static int insert(struct fuse_server *s, const struct fuse_node *dir, int fd, const struct statx *sx,
                  struct file_handle *handle, bool keep_fd, struct fuse_entry_out *out)
{
    struct fuse_key key = key_of(sx);
    bool sealed = false, local = dir->local;
    if (key.dev != dir->key.dev)
        file_system_of(fd, &sealed, &local);
    struct left mine = {keep_fd ? fd : -1, handle}, old = {-1, NULL};
    int rc = 0;
    lock_take(&s->nodes_lock);
    struct fuse_node *node = find(s, &key);
    if (node && !same_file(node, handle)) { /* its inode number went to a new file */
        hash_out(s, node);
        old = unused(s, node);
        node = NULL;
    }
    if (!node && (node = slot_take(s))) {
        node->key = key;
        node->type = sx->stx_mode & S_IFMT;
        node->dev_index = dev_index(s, key.dev);
        node->sealed = sealed;
        node->local = local;
        node->fd = mine.fd;
        node->handle = keep_fd ? NULL : mine.handle;
        hash_in(s, node);
        mine = (struct left){-1, keep_fd ? mine.handle : NULL};
    }
    if (node) {
        node->lookups++;
        entry(s, node, node_id(node), sx, out);
    } else
        rc = -ENFILE;
    lock_drop(&s->nodes_lock);
    left_close(old);
    left_close(mine);
    if (!keep_fd)
        close(fd);
    return rc;
}

/* The same for a file that may not be known yet: by descriptor, else by handle, which is not for at once. Takes fd. */
static int adopt(struct fuse_server *s, const struct fuse_node *dir, int fd, bool at_once,
                 struct fuse_entry_out *out)
{
    struct statx sx;
    struct file_handle *handle = NULL;
    int rc = fuse_statx(fd, "", &sx);
    bool by_handle = false;
    if (rc == 0) {
        struct fuse_key key = key_of(&sx);
        if (known(s, &key, NULL, &sx, out, &by_handle)) {
            close(fd);
            return 0;
        }
        bool keep = !by_handle && fuse_fds_take(s->by_handle ? FUSE_FDS_EASY : FUSE_FDS_NODES);
        if (!keep && at_once) {
            close(fd);
            return FUSE_LATER;
        }
        if (!keep && !(handle = fuse_handle_make(s, fd, key.mnt, sx.stx_mode)))
            keep = fuse_fds_take(FUSE_FDS_NODES);
        if (keep || handle)
            return insert(s, dir, fd, &sx, handle, keep, out);
        rc = -ENFILE;
    }
    close(fd);
    return rc;
}

int fuse_node_look(struct fuse_server *s, const struct fuse_node *dir, int dir_fd, const char *name,
                   uint64_t ino, struct fuse_entry_out *out)
{
    if (dir->sealed)
        return -ENOENT;
    bool likely = true, by_handle;
    if (ino) { /* is it worth to ask by name first? */
        struct fuse_key key = dir->key;
        key.ino = ino;
        lock_take(&s->nodes_lock);
        likely = find(s, &key);
        lock_drop(&s->nodes_lock);
    }
    if (likely) {
        struct statx sx;
        int rc = fuse_statx(dir_fd, name, &sx);
        if (rc < 0)
            return rc;
        struct fuse_key key = key_of(&sx);
        if (known(s, &key, NULL, &sx, out, &by_handle))
            return 0;
    }
    int fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == EMFILE ? -ENFILE : -errno;
    return adopt(s, dir, fd, false, out);
}

int fuse_node_look_at_once(struct fuse_server *s, const struct fuse_node *dir, int dir_fd, const char *name,
                           struct fuse_entry_out *out)
{
    static _Atomic bool unknown; /* this kernel, or its filter of calls, has no such thing */
    struct open_how how = {.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                           .resolve = RESOLVE_CACHED | RESOLVE_NO_XDEV};
    if (dir->sealed || atomic_load_explicit(&unknown, memory_order_relaxed))
        return FUSE_LATER;
    int fd = (int)syscall(SYS_openat2, dir_fd, name, &how, sizeof how);
    if (fd >= 0)
        return adopt(s, dir, fd, true, out);
    if (errno == ENOSYS || errno == EINVAL || errno == EPERM)
        atomic_store_explicit(&unknown, true, memory_order_relaxed);
    return errno == ENOENT ? -ENOENT : FUSE_LATER;
}

int fuse_node_of(struct fuse_server *s, const struct fuse_node *dir, int fd, struct fuse_entry_out *out)
{
    int path = fuse_reopen(s, fd, O_PATH);
    return path < 0 ? path : adopt(s, dir, path, false, out);
}

/* --- the table as a whole */

bool fuse_nodes_init(struct fuse_server *s)
{
    lock_init(&s->nodes_lock, LOCK_QUEUE, "fuse nodes");
    s->n_buckets = BUCKETS_FIRST;
    s->buckets = calloc(s->n_buckets, sizeof *s->buckets);
    s->chunks = calloc(s->max_nodes / CHUNK + 2, sizeof(*s->chunks)); /* slot 0 is lost */
    return s->buckets && s->chunks;
}

int fuse_nodes_root(struct fuse_server *s, int fd)
{
    struct statx sx;
    int rc = fuse_statx(fd, "", &sx);
    if (rc < 0)
        return rc;
    struct fuse_node *node = slot_take(s);
    if (!node)
        return -ENOMEM;
    node->fd = fd;
    node->key = key_of(&sx);
    node->type = sx.stx_mode & S_IFMT;
    node->dev_index = dev_index(s, node->key.dev);
    bool given; /* by name: not sealed, whatever it is */
    file_system_of(fd, &given, &node->local);
    hash_in(s, node);
    s->top = node;
    return 0;
}

void fuse_nodes_reset(struct fuse_server *s)
{
    for (uint32_t slot = 1;; slot++) {
        lock_take(&s->nodes_lock);
        bool more = slot < s->n_slots;
        struct left left = {-1, NULL};
        if (more) {
            struct fuse_node *node = slot_node(s, slot);
            if (node->used) {
                node->lookups = 0;
                left = unused(s, node);
            }
        }
        lock_drop(&s->nodes_lock);
        left_close(left);
        if (!more)
            return;
    }
}

void fuse_nodes_free(struct fuse_server *s)
{
    if (s->top) {
        fuse_nodes_reset(s);
        close(s->top->fd);
    }
    for (uint32_t i = 0; i < s->n_slots / CHUNK; i++)
        free(s->chunks[i]);
    free(s->chunks);
    free(s->buckets);
    fuse_handles_free(s);
}
