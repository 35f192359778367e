/* SPDX-License-Identifier: MIT
 *
 * What is put on standard error between said_begin() and said_end(), as far as a pipe and the buffer hold it.
 */
#ifndef TESTS_UNIT_SAID_H
#define TESTS_UNIT_SAID_H

#include "test.h"

#include <unistd.h>

static int said_pipe, said_stderr;

static inline void said_begin(void)
{
    int p[2];
    CHECK(pipe(p) == 0);
    said_stderr = dup(2);
    dup2(p[1], 2);
    close(p[1]);
    said_pipe = p[0];
}

static inline char *said_end(char *buf, size_t size)
{
    dup2(said_stderr, 2); /* the pipe's last writer: reading ends */
    close(said_stderr);
    ssize_t n = read(said_pipe, buf, size - 1);
    close(said_pipe);
    buf[n < 0 ? 0 : n] = 0;
    return buf;
}

#endif
