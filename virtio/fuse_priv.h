/* SPDX-License-Identifier: MIT
 *
 * What the files of the FUSE server share. fuse.c takes a request apart by its table and calls one operation; fuse_node.c has
 * the files and folders that the guest knows, fuse_open.c those that it has open; the operations are in fuse_attr.c (names and
 * attributes), fuse_name.c (what changes a folder), fuse_dir.c, fuse_file.c (data), fuse_xattr.c; fuse_id.c says as whom
 * files are made, fuse_fds.c how many descriptors there may be.
 */
#ifndef VIRTIO_FUSE_PRIV_H
#define VIRTIO_FUSE_PRIV_H

#include <errno.h>
#include <limits.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "kvm/host/lock.h"
#include "virtio/fuse.h"

enum {
    FUSE_LATER = -4096, /* what an operation says that cannot be done at once: no errno is that low */
};

/* Of later versions than Debian 12's <linux/fuse.h>. */
#define FUSE_DIRECT_IO_ALLOW_MMAP_ (1ull << 36)

/* --- nodes */

struct
    fuse_key { /* what makes two names one file; the mount, so that bind mounts do not make a tree contain itself */
    uint64_t dev, ino, mnt;
};

struct fuse_node {
    struct fuse_key key;
    uint64_t lookups; /* as the guest counts: LOOKUP and the like add one, FORGET takes them away */
    uint32_t refs;    /* answers that use it just now */
    uint32_t slot, gen, next;
    int fd;                         /* O_PATH; -1: by handle */
    struct file_handle *handle;     /* of open_by_handle_at(); NULL: by fd */
    struct statx_timestamp changed; /* the file at its last open, if `settled` */
    uint64_t size;
    uint16_t type, dev_index; /* S_IFMT; which of the server's devices */
    bool used, hashed, settled, sealed;
    bool local; /* its file system needs nobody to say what the host's kernel knows */
};

/* --- open files */

enum fuse_kind {
    FUSE_KIND_FILE,
    FUSE_KIND_DIR
};

struct fuse_open {
    int fd;
    uint32_t refs, slot, gen, next;
    uint64_t node;          /* of which it is */
    uint64_t pos;           /* folders: where the descriptor is */
    struct fuse_list *list; /* and what was read before that, of which the guest may ask; or NULL */
    enum fuse_kind kind;
    bool used, released, writable, listed; /* listed: a thread is moving a folder's descriptor */
    atomic_bool waits;                     /* its file system cannot read without */
};

struct fuse_server {
    char *path, *name;
    bool ro, no_cache, root, by_handle;
    unsigned max_pages, max_nodes, max_files;
    int proc; /* /proc/self/fd */
    uint64_t valid_ns;
    uint64_t caps[2]; /* effective, permitted: what the threads have */
    atomic_bool running;
    _Atomic uint64_t flags; /* what INIT agreed on */
    _Atomic uint64_t requests, errors;

    struct lock nodes_lock; /* all of the nodes but fd, handle, key and type, which stay as they are */
    struct fuse_node **chunks, *top;
    uint32_t *buckets;
    uint32_t n_buckets, n_slots, free_node, n_nodes;
    uint64_t devs[64];
    unsigned n_devs;
    struct fuse_mount {
        uint64_t mnt;
        int fd;
    } mounts[64];
    unsigned n_mounts;

    struct lock opens_lock;
    struct fuse_open **opens;
    uint32_t n_opens_slots, free_open, n_opens;
    _Atomic uint32_t listed; /* bytes of lists */
};

/* --- one request */

struct fuse_pieces {
    struct iovec *iov;
    int n;
    size_t left;
};

struct fuse_call {
    struct fuse_server *s;
    struct fuse_in_header h;
    struct fuse_pieces req, rep; /* what is not yet read, what is not yet written */
    struct fuse_node *node;      /* h.nodeid's, and a descriptor of it; not for all operations */
    int fd;
    bool at_once; /* or FUSE_LATER */
    char name[2][NAME_MAX + 1];
    union {
        struct fuse_forget_in forget;
        struct fuse_batch_forget_in batch_forget;
        struct fuse_setattr_in setattr;
        struct fuse_mknod_in mknod;
        struct fuse_mkdir_in mkdir;
        struct fuse_rename_in rename;
        struct fuse_rename2_in rename2;
        struct fuse_link_in link;
        struct fuse_open_in open;
        struct fuse_create_in create;
        struct fuse_release_in release;
        struct fuse_flush_in flush;
        struct fuse_read_in read;
        struct fuse_write_in write;
        struct fuse_fsync_in fsync;
        struct fuse_setxattr_in setxattr;
        struct fuse_getxattr_in getxattr;
        struct fuse_access_in access;
        struct fuse_init_in init;
        struct fuse_fallocate_in fallocate;
        struct fuse_lseek_in lseek;
        struct fuse_copy_file_range_in copy;
    } in;
};

/* An operation: -errno, or the bytes that it put into the reply behind the header. */
typedef int fuse_op(struct fuse_call *c);

fuse_op fuse_op_init, fuse_op_destroy, fuse_op_forget, fuse_op_batch_forget;
fuse_op fuse_op_lookup, fuse_op_getattr, fuse_op_setattr, fuse_op_readlink, fuse_op_statfs, fuse_op_access;
fuse_op fuse_op_symlink, fuse_op_mknod, fuse_op_mkdir, fuse_op_unlink, fuse_op_rmdir, fuse_op_rename,
    fuse_op_rename2, fuse_op_link;
fuse_op fuse_op_open, fuse_op_create, fuse_op_tmpfile, fuse_op_read, fuse_op_write, fuse_op_flush,
    fuse_op_release, fuse_op_fsync, fuse_op_fallocate, fuse_op_lseek, fuse_op_copy_file_range, fuse_op_syncfs;
fuse_op fuse_op_opendir, fuse_op_readdir, fuse_op_readdirplus;
void fuse_list_free(struct fuse_server *s, struct fuse_list *list); /* NULL: nothing */
fuse_op fuse_op_setxattr, fuse_op_getxattr, fuse_op_listxattr, fuse_op_removexattr;

/* fuse.c: pieces. False: there is not as much. */
bool fuse_get(struct fuse_pieces *p, void *to, size_t n) __attribute__((warn_unused_result));
void fuse_skip(struct fuse_pieces *p, size_t n);
void fuse_cut(struct fuse_pieces *p, size_t n); /* leaves the first n */
/* A text with its NUL, of at most max bytes with it. 0 or -errno. */
int fuse_text(struct fuse_pieces *p, char *to, size_t max) __attribute__((warn_unused_result));
/* The reply is this; its room was checked by the table. */
int fuse_reply(struct fuse_call *c, const void *out, size_t n);

/* fuse_node.c. hold: NULL if there is no such node. */
bool fuse_nodes_init(struct fuse_server *s) __attribute__((warn_unused_result));
int fuse_nodes_root(struct fuse_server *s, int fd); /* 0 or -errno; the fd is the server's */
void fuse_nodes_reset(struct fuse_server *s);
void fuse_nodes_free(struct fuse_server *s);
struct fuse_node *fuse_node_hold(struct fuse_server *s, uint64_t id);
void fuse_node_put(struct fuse_server *s, struct fuse_node *node);
void fuse_node_forget(struct fuse_server *s, uint64_t id, uint64_t lookups);
/* A descriptor, O_PATH, to be given back; or -errno. */
int fuse_node_fd(struct fuse_server *s, const struct fuse_node *node);
void fuse_node_fd_done(const struct fuse_node *node, int fd);
/* The node of what is called so in dir, one lookup more, and what the guest is told of it. 0 or -errno. ino: what a folder said
 * of it, 0: unknown. */
int fuse_node_look(struct fuse_server *s, const struct fuse_node *dir, int dir_fd, const char *name,
                   uint64_t ino, struct fuse_entry_out *out);
/* The same from the host's cache alone, or FUSE_LATER; dir is local. */
int fuse_node_look_at_once(struct fuse_server *s, const struct fuse_node *dir, int dir_fd, const char *name,
                           struct fuse_entry_out *out);
/* The same of a file just opened; dir is where. */
int fuse_node_of(struct fuse_server *s, const struct fuse_node *dir, int fd, struct fuse_entry_out *out);
/* Whether the guest's pages of the file are still those of the file as sx says; takes note of sx. */
bool fuse_node_settled(struct fuse_server *s, struct fuse_node *node, const struct statx *sx);
uint64_t fuse_ino(const struct fuse_node *near, uint64_t ino);
void fuse_valid(const struct fuse_server *s, uint64_t *sec, uint32_t *nsec);
void fuse_attr(const struct fuse_node *node, const struct statx *sx, struct fuse_attr *attr);
int fuse_statx(int fd, const char *name, struct statx *sx); /* name: "" for fd itself */

/* fuse_open.c. fuse_open_add takes the fd, even if it fails. */
int fuse_open_add(struct fuse_server *s, int fd, enum fuse_kind kind, bool writable, uint64_t node,
                  uint64_t *fh);
struct fuse_open *fuse_open_hold(struct fuse_server *s, uint64_t fh, enum fuse_kind kind);
/* Any of that node; a search. */
struct fuse_open *fuse_open_hold_of(struct fuse_server *s, uint64_t node);
void fuse_open_put(struct fuse_server *s, struct fuse_open *open);
/* A folder, for one thread alone until fuse_open_put_alone(); NULL, and why in error. */
struct fuse_open *fuse_open_hold_alone(struct fuse_server *s, uint64_t fh, int *error);
void fuse_open_put_alone(struct fuse_server *s, struct fuse_open *open);
int fuse_open_release(struct fuse_server *s, uint64_t fh, enum fuse_kind kind);
void fuse_opens_reset(struct fuse_server *s);
void fuse_opens_free(struct fuse_server *s);
/* Opens what an O_PATH descriptor stands for. fd or -errno. */
int fuse_reopen(const struct fuse_server *s, int path_fd, int flags);

/* fuse_file.c: what a write by an ordinary user does to a file. */
int fuse_kill_suidgid(int fd);

/* fuse_fds.c: descriptors of all servers. False: there are enough. */
enum fuse_fds_for {
    FUSE_FDS_EASY, /* a node that could do without */
    FUSE_FDS_NODES,
    FUSE_FDS_OPENS
};
void fuse_fds_init(void);
bool fuse_fds_take(enum fuse_fds_for what) __attribute__((warn_unused_result));
void fuse_fds_give(void);
unsigned fuse_fds_used(void);
unsigned fuse_fds_most(void);
void fuse_fds_set_most(unsigned most); /* for tests; 0: as the limit says */

/* fuse_id.c: as whom files are made; between the two no other request is served by this thread. mask: the guest's umask;
 * enter may take it from the mode itself. */
bool fuse_id_init(struct fuse_server *s);
int fuse_id_enter(const struct fuse_call *c, unsigned mask, mode_t *mode);
void fuse_id_leave(const struct fuse_call *c);

/* "N" and "/proc/self/fd/N". */
struct fuse_fd_name {
    char text[32];
};
const char *fuse_fd_name(int fd, struct fuse_fd_name *name);
const char *fuse_fd_path(int fd, struct fuse_fd_name *name);

#endif
