// SPDX-License-Identifier: MIT
/* The files that TFTP serves: none but those of its folder, and without waiting for a disk.
 *
 * The kernel resolves each name beneath the folder (openat2(2), RESOLVE_BENEATH), so neither `..` nor an absolute name, nor a
 * symbolic link leads out, whatever changes meanwhile. A leading slash means the folder itself, as TFTP clients use
 * it. Only regular files are served. Reads take what is in the page cache; the rest is asked for, and there at a later
 * look. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "net/user_priv.h"

enum {
    AHEAD = 64, /* blocks that are asked for at once */
};

int tftp_open(int folder, const char *name, uint64_t *size)
{
    struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    struct stat st;
    while (*name == '/')
        name++;
    int fd = (int)syscall(SYS_openat2, folder, name, &how, sizeof how);
    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        errno = EACCES;
        return -1;
    }
    *size = (uint64_t)st.st_size;
    return fd;
}

ssize_t tftp_read(int fd, uint64_t at, void *to, size_t len, uint64_t file_size)
{
    struct iovec iov = {to, len};
    ssize_t n = preadv2(fd, &iov, 1, (off_t)at, RWF_NOWAIT);
    if (n < 0 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL))
        n = preadv(fd, &iov, 1, (off_t)at); /* a file system of memory, mostly */
    /* short before the end: the rest is not in memory yet */
    if (n >= 0 && (size_t)n < len && at + (uint64_t)n < file_size) {
        n = -1;
        errno = EAGAIN;
    }
    if (n < 0 && errno == EAGAIN) {
        posix_fadvise(fd, (off_t)at, (off_t)len * AHEAD, POSIX_FADV_WILLNEED);
        errno = EAGAIN;
    }
    return n;
}
