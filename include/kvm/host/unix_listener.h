/* SPDX-License-Identifier: MIT
 *
 * A Unix socket that listens at a path: how its file comes, what may stand in its way, and how the file goes. Everything here is
 * done once for all that have such a socket (control socket, --gdb, mode=stream, virtio-vsock, consoles).
 *
 * Coming. The file is made by bind(), mode 0600 less the umask, and never over anything. What stands there is removed only if it
 * is a socket (no symbolic link, wherever it leads) and connect() to it says ECONNREFUSED: then no process has it open. Any
 * other failure says nothing of the sort: EAGAIN is a full queue, EACCES another user's, EPROTOTYPE one of datagrams.
 *
 * The race. A socket between its bind() and its listen() refuses connections too, and a dead one may be replaced by a live one
 * between the question and unlink(). So all of it happens under flock() of the folder, which is tried for UNIX_PATIENCE. Where the
 * lock cannot be had, free places are still taken, but nothing is removed. (A program that does not take the lock can still
 * be met in the few microseconds between its two calls.)
 *
 * Going. The file is removed if it is still ours, by device and inode. The number cannot be another's by then: an open socket
 * keeps its inode, so the file goes before the descriptor. What was not closed when the process ends by exit() or by
 * machine_finish() is removed by unix_listeners_end(); a fork()ed child removes nothing.
 *
 * Thread: set-up, then the loop's. Source: unix(7), flock(2).
 */
#ifndef KVM_HOST_UNIX_LISTENER_H
#define KVM_HOST_UNIX_LISTENER_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

enum {
    UNIX_PATH = sizeof(((struct sockaddr_un *)0)->sun_path), /* with its zero */
    UNIX_PATIENCE = 2000,                                    /* ms, for the folder's lock */
};

struct unix_listener {
    int fd; /* non-blocking, close-on-exec; meaningful while open */
    bool open;
    char path[UNIX_PATH];
    dev_t dev; /* the file's */
    ino_t ino;
    pid_t owner;
    struct unix_listener *next; /* all that have a file */
};

/* False and errno: ENAMETOOLONG (UNIX_PATH); EADDRINUSE: somebody listens there, or may; EEXIST: what stands there is no socket;
 * ENOLCK, ETIMEDOUT and the like: a dead one stands there, but the folder's lock cannot be had; and what socket(), bind() and
 * listen() say. Then nothing is left behind. l must stay where it is until it is closed. Set-up: may wait UNIX_PATIENCE. */
bool unix_listener_open(struct unix_listener *l, const char *path, int backlog)
    __attribute__((warn_unused_result));

/* Removes the file if it is still ours, and closes the socket; the caller has taken it out of the loop. One that never was
 * opened (zeroed) or is closed is fine. */
void unix_listener_close(struct unix_listener *l);

/* Removes the files of all that are open, and leaves them open. Any number of times; exit() does it too. */
void unix_listeners_end(void);

/* Removes the socket of a dead process; false and errno as above, where there is none or it cannot be. May wait. */
bool unix_listener_clear(const char *path);

/* A connection, non-blocking and close-on-exec: it is there at once or -1 and errno (EAGAIN: the queue is full). Any thread. */
int unix_connect(const char *path);

#endif
