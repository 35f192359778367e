/* SPDX-License-Identifier: MIT
 *
 * A file that the user named, read without trusting it to be one: regular files only (a FIFO would block, a
 * device has no size), opened without waiting for a writer, the size taken once, every read checked against
 * it and against what the file still has. Never mapped: a file that shrinks is a short read and a sentence,
 * not a SIGBUS.
 *
 * Every failure writes one sentence "WHAT NAME: reason" to err and returns false. Owner: the set-up thread.
 */
#ifndef GUEST_IMAGE_H
#define GUEST_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image {
    const char *what; /* "kernel", "initrd": for messages */
    const char *name; /* not owned */
    int fd;           /* -1: data */
    const uint8_t *data;
    uint64_t size; /* > 0 */
    char *err;     /* where failures are told; may be changed between calls */
    size_t err_size;
};

/* what, name, err and err_size are set by the caller; the rest is filled in. An empty file is refused. */
bool image_open(struct image *image, const char *path) __attribute__((warn_unused_result));
bool image_open_data(struct image *image, const void *data, uint64_t size)
    __attribute__((warn_unused_result));
void image_close(struct image *image);

/* The bytes [offset, offset + len), all of them or false. */
bool image_read(const struct image *image, uint64_t offset, void *buf, uint64_t len)
    __attribute__((warn_unused_result));

/* Always false, so that a check reads `return image_fail(…)`. */
bool image_fail(const struct image *image, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
