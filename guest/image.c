/* SPDX-License-Identifier: MIT
 *
 * Reading the user's files with suspicion; the theory is in guest/image.h.
 */
#include "guest/image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool image_fail(const struct image *image, const char *fmt, ...)
{
    int n = snprintf(image->err, image->err_size, "%s %s: ", image->what, image->name);
    if (n >= 0 && (size_t)n < image->err_size) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(image->err + n, image->err_size - (size_t)n, fmt, ap);
        va_end(ap);
    }
    return false;
}

static const char *kind_of(mode_t mode)
{
    return S_ISDIR(mode)    ? "a folder"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
           : S_ISSOCK(mode) ? "a socket"
                            : "of an unknown kind";
}

bool image_open(struct image *image, const char *path)
{
    image->data = NULL;
    image->size = 0;
    /* O_NONBLOCK: opening a FIFO that nobody writes to must come back, to be refused below. */
    image->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (image->fd < 0)
        return image_fail(image, "%s", strerror(errno));

    struct stat st;
    bool ok = false;
    if (fstat(image->fd, &st) < 0)
        image_fail(image, "fstat: %s", strerror(errno));
    else if (!S_ISREG(st.st_mode))
        image_fail(image, "it is %s, not a regular file", kind_of(st.st_mode));
    else if (st.st_size <= 0)
        image_fail(image, "the file is empty");
    else
        ok = true;
    if (!ok) {
        image_close(image);
        return false;
    }
    image->size = (uint64_t)st.st_size;
    return true;
}

bool image_open_data(struct image *image, const void *data, uint64_t size)
{
    image->fd = -1;
    image->data = data;
    image->size = size;
    return size ? true : image_fail(image, "it is empty");
}

void image_close(struct image *image)
{
    if (image->fd >= 0)
        close(image->fd);
    image->fd = -1;
}

bool image_read(const struct image *image, uint64_t offset, void *buf, uint64_t len)
{
    if (offset > image->size || len > image->size - offset)
        return image_fail(image,
                          "cut short: %" PRIu64 " bytes at %" PRIu64 " are wanted, the file has %" PRIu64,
                          len, offset, image->size);
    if (image->data) {
        memcpy(buf, image->data + offset, len);
        return true;
    }
    for (uint8_t *p = buf; len;) {
        ssize_t n = pread(image->fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return image_fail(image, "read: %s", strerror(errno));
        if (n == 0)
            return image_fail(image, "it shrank while it was read (it had %" PRIu64 " bytes)", image->size);
        p += n;
        offset += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return true;
}
