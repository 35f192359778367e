// SPDX-License-Identifier: MIT
/* A Unix socket that listens at a path: see include/kvm/host/unix_listener.h. */
#include "kvm/host/unix_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    LOCK_STEP = 10, /* ms */
};

static struct unix_listener *all;

static void close_keeping_errno(int fd)
{
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
}

static int unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* An empty path would be an address of the kernel's choice. */
static bool unix_address(struct sockaddr_un *at, const char *path)
{
    size_t n = strlen(path);
    *at = (struct sockaddr_un){.sun_family = AF_UNIX};
    errno = n ? ENAMETOOLONG : ENOENT;
    if (!n || n >= sizeof at->sun_path)
        return false;
    memcpy(at->sun_path, path, n);
    return true;
}

static int connect_to(const struct sockaddr_un *at)
{
    int fd = unix_socket();
    if (fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at)) {
        close_keeping_errno(fd);
        return -1;
    }
    return fd;
}

int unix_connect(const char *path)
{
    struct sockaddr_un at;
    return unix_address(&at, path) ? connect_to(&at) : -1;
}

/* --- the folder's lock */

/* A descriptor that holds it, or -1 and errno. The path fits an address. */
static int lock_folder(const char *path)
{
    char folder[UNIX_PATH + 1];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int waited = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB); waited += LOCK_STEP) {
        if ((errno != EWOULDBLOCK && errno != EINTR) || waited >= UNIX_PATIENCE) {
            errno = errno == EWOULDBLOCK ? ETIMEDOUT : errno;
            close_keeping_errno(fd);
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = LOCK_STEP * 1000000L}, NULL);
    }
    return fd;
}

/* --- what stands in the way */

/* lock_error: why the folder is not locked, or 0. The file is held open meanwhile, so that its inode cannot be another's. */
static bool clear_dead(const struct sockaddr_un *at, int lock_error)
{
    struct stat held, st;
    int file = open(at->sun_path, O_PATH | O_NOFOLLOW | O_CLOEXEC), peer = -1;
    bool done = false;
    if (file < 0 || fstat(file, &held))
        goto out;
    errno = EEXIST;
    if (!S_ISSOCK(held.st_mode))
        goto out;
    peer = connect_to(at);
    if (peer >= 0 || errno != ECONNREFUSED) {
        errno = EADDRINUSE;
        goto out;
    }
    errno = lock_error;
    if (lock_error || lstat(at->sun_path, &st))
        goto out;
    errno = EADDRINUSE;
    if (st.st_dev == held.st_dev && st.st_ino == held.st_ino)
        done = unlink(at->sun_path) == 0;
out:
    close_keeping_errno(peer);
    close_keeping_errno(file);
    return done;
}

bool unix_listener_clear(const char *path)
{
    struct sockaddr_un at;
    if (!unix_address(&at, path))
        return false;
    int lock = lock_folder(path);
    bool done = clear_dead(&at, lock < 0 ? errno : 0);
    close_keeping_errno(lock);
    return done;
}

/* --- coming */

static bool bind_to(int fd, const struct sockaddr_un *at)
{
    return bind(fd, (const struct sockaddr *)at, sizeof *at) == 0;
}

/* One that went by itself in between leaves its place free as well. */
static bool take_place(int fd, const struct sockaddr_un *at, int lock_error)
{
    if (bind_to(fd, at))
        return true;
    return errno == EADDRINUSE && (clear_dead(at, lock_error) || errno == ENOENT) && bind_to(fd, at);
}

static bool listen_at(struct unix_listener *l, const struct sockaddr_un *at, int backlog, int lock_error)
{
    struct stat st;
    l->fd = unix_socket();
    if (l->fd < 0)
        return false;
    /* The file's mode is that of the socket's inode (less the umask), which no other thread has to suffer. */
    if (fchmod(l->fd, 0600) || !take_place(l->fd, at, lock_error)) {
        close_keeping_errno(l->fd);
        return false;
    }
    if (lstat(at->sun_path, &st) || listen(l->fd, backlog)) {
        int error = errno;
        unlink(at->sun_path);
        errno = error;
        close_keeping_errno(l->fd);
        return false;
    }
    l->dev = st.st_dev;
    l->ino = st.st_ino;
    return true;
}

bool unix_listener_open(struct unix_listener *l, const char *path, int backlog)
{
    static bool registered;
    struct sockaddr_un at;
    *l = (struct unix_listener){.fd = -1};
    if (!unix_address(&at, path))
        return false;
    int lock = lock_folder(path);
    l->open = listen_at(l, &at, backlog, lock < 0 ? errno : 0);
    close_keeping_errno(lock);
    if (!l->open)
        return false;
    memcpy(l->path, at.sun_path, sizeof l->path);
    l->owner = getpid();
    l->next = all;
    all = l;
    if (!registered)
        atexit(unix_listeners_end);
    registered = true;
    return true;
}

/* --- going */

static void remove_file(const struct unix_listener *l)
{
    struct stat st;
    if (l->owner == getpid() && !lstat(l->path, &st) && st.st_dev == l->dev && st.st_ino == l->ino)
        unlink(l->path);
}

void unix_listeners_end(void)
{
    for (struct unix_listener *l = all; l; l = l->next)
        remove_file(l);
}

void unix_listener_close(struct unix_listener *l)
{
    if (!l->open)
        return;
    for (struct unix_listener **at = &all; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    remove_file(l);
    close(l->fd);
    *l = (struct unix_listener){.fd = -1};
}
