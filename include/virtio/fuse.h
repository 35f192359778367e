/* SPDX-License-Identifier: MIT
 *
 * A FUSE server over a host folder, in process: what virtio-fs asks, answered. It knows nothing of virtqueues: one request
 * comes as pieces of guest memory, one reply goes to other pieces. Source: the kernel's <linux/fuse.h> (protocol 7.31 up to
 * 7.38), virtio 1.2, 5.11.
 *
 * Goals and limits
 * - Nothing leads out of the folder: a name is one component, opened O_PATH|O_NOFOLLOW below its parent's descriptor. Symbolic
 *   links are the guest's to resolve. Mount points below are followed; what the kernel shows of itself there (proc, sysfs,
 *   debugfs…, but not when it is the folder itself) is an empty folder to the guest.
 * - Only regular files and folders are ever opened. Devices, FIFOs and sockets can be made, seen, renamed and removed.
 * - Everything is bounded: the tables of nodes and of open files, and the descriptors of all servers of the process by
 *   RLIMIT_NOFILE, whose soft limit the first fuse_new() raises to the hard one. Beyond that the guest gets ENFILE.
 * - Identities: as root (CAP_CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, SETUID, SETGID, MKNOD in the thread)
 *   files are made as the guest's uid and gid; the guest's kernel checks permissions (default_permissions). Otherwise
 *   everything belongs to the user that runs this process.
 * - Coherence: names and attributes are good for FUSE_VALID_NS, so a change on the host is seen within a second; an open
 *   keeps the guest's pages only if the file cannot have changed since the last open, by its ctime and size (what a process of
 *   the host writes into a mapping is seen when that file system says so). no_cache: nothing is kept.
 * - What the guest knows is held by O_PATH descriptors, so a file system mounted below the folder is busy meanwhile; as root,
 *   beyond 128 Ki of them or where they run out, by file handles. By handle a device, a FIFO or a link is gone with its last name, even if the guest has it
 *   open; a file or a folder is not.
 * - SYNCFS is for the file system of the folder, not for those mounted below it.
 * - Locks are the guest's own (GETLK, SETLK, SETLKW are not offered, ENOSYS): virtio-fs cannot interrupt a request, so a
 *   process of the guest that waited for a lock of the host's could not be killed, and would hold a thread of the pool.
 * - O_DIRECT is about the guest's cache: the host's file is opened without it, since the guest's memory is not aligned as
 *   that file system may want it.
 *
 * Threads: fuse_answer() may be called by several threads at once and may block; it takes locks of rank LOCK_QUEUE only. A
 * thread that makes files leaves the process's umask and folder for ones of its own (unshare(CLONE_FS); where that is
 * forbidden, as in containers, the process's umask counts beside the guest's), and if it does so as another user the kernel
 * takes the process for one not to be dumped (prctl(2), PR_SET_DUMPABLE). System calls used: openat statx statfs getdents64
 * lseek preadv pwritev2 … fallocate copy_file_range, *at() for names, setfsuid setfsgid capset for identities, all by
 * descriptor, or by /proc/self/fd where no call takes an O_PATH descriptor.
 */
#ifndef VIRTIO_FUSE_H
#define VIRTIO_FUSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define FUSE_VALID_NS UINT64_C(900000000)

struct fuse_server;

struct fuse_config {
    const char *path;   /* the folder; a link in the last place is followed */
    const char *name;   /* the device's, for messages: "fs0" */
    bool ro;            /* EROFS for all that changes */
    bool no_cache;      /* every change on the host is seen at once */
    unsigned max_pages; /* of 4 KiB in one request's data; 0: 256. What the queue can carry */
    unsigned max_nodes; /* files and folders the guest knows at a time; 0: a million */
    unsigned max_files; /* open at a time; 0: 65536, or a quarter of the descriptors */
};

/* Set-up thread, in the process that will serve (not before a fork()). The strings are copied. NULL, and a sentence in err. */
struct fuse_server *fuse_new(const struct fuse_config *config, char *err, size_t errlen);

/* No fuse_answer() is under way or comes. NULL: nothing. */
void fuse_free(struct fuse_server *s);

/* The device was reset: as fuse_new() left it, all the guest's nodes and open files are gone. Any thread; answers under way
 * end as they would. (INIT and DESTROY do it too.) */
void fuse_reset(struct fuse_server *s);

/* Answers one request: `req` is what the guest wrote (device-readable), `rep` is room for the reply (device-writable). Both
 * arrays are the server's to change until it returns; the memory behind them is the guest's, hostile, and read once. Returns
 * how many bytes of the reply were written: 0 for what has none (FORGET) or has no room for its header. May block. */
size_t fuse_answer(struct fuse_server *s, struct iovec *req, int n_req, struct iovec *rep, int n_rep);

/* The same, but only if it waits for no disk, no network and no other process, and is soon done: a LOOKUP of what the
 * host has in its cache and a GETATTR, on local file systems; a READ of up to 64 KiB that the host has in its cache
 * (openat2(2), RESOLVE_CACHED, Linux 5.12; preadv2(2), RWF_NOWAIT). False: nothing was done, and fuse_answer() is to be
 * asked; the arrays are as they were. Any thread. */
bool fuse_answer_at_once(struct fuse_server *s, const struct iovec *req, int n_req, const struct iovec *rep,
                         int n_rep, size_t *written) __attribute__((warn_unused_result));

/* What `info` shows: one instant, any thread. */
struct fuse_stats {
    uint64_t requests, errors; /* answered; with an error among them */
    unsigned nodes, files;     /* held now */
    unsigned descriptors;      /* of all servers */
    bool root;                 /* identities are the host's */
    bool running;              /* INIT was seen */
};
void fuse_stats(struct fuse_server *s, struct fuse_stats *stats);

#endif
