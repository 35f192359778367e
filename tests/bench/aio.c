// SPDX-License-Identifier: MIT
/* Requests to a block device, so many at a time, at seeded places, past the page cache:
 *
 *   aio read|write DEVICE BYTES DEPTH COUNT
 *
 * By Linux's own asynchronous calls (io_submit), which any guest kernel has; libc alone. Status 0: all of them came back whole. */
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/fs.h>

enum {
    DEPTH_MAX = 256
};

static uint64_t seed = 1;

static uint64_t next_random(void) /* xorshift64 */
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    return seed ^= seed << 17;
}

int main(int argc, char **argv)
{
    static struct iocb cb[DEPTH_MAX];
    if (argc != 6)
        return 2;
    int write_it = !strcmp(argv[1], "write"), fd = open(argv[2], (write_it ? O_WRONLY : O_RDONLY) | O_DIRECT);
    uint64_t bytes = strtoull(argv[3], NULL, 0), size, blocks, sent = 0, done = 0;
    unsigned depth = (unsigned)atoi(argv[4]);
    uint64_t count = strtoull(argv[5], NULL, 0);
    aio_context_t ctx = 0;
    if (fd < 0 || !depth || depth > DEPTH_MAX || ioctl(fd, BLKGETSIZE64, &size) || !(blocks = size / bytes))
        return perror(argv[2]), 2;
    if (syscall(SYS_io_setup, depth, &ctx))
        return perror("io_setup"), 2;
    for (unsigned i = 0; i < depth; i++) {
        void *buffer;
        if (posix_memalign(&buffer, 4096, bytes))
            return 2;
        memset(buffer, 'x', bytes);
        cb[i] = (struct iocb){.aio_lio_opcode = write_it ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
                              .aio_fildes = (uint32_t)fd,
                              .aio_buf = (uintptr_t)buffer,
                              .aio_nbytes = bytes,
                              .aio_data = i};
    }
    struct io_event events[DEPTH_MAX];
    struct iocb *batch[DEPTH_MAX];
    long ready = 0; /* events: whose buffers are free again */
    for (unsigned i = 0; i < depth; i++)
        events[ready++].data = i;
    while (done < count) {
        long n = 0;
        for (long i = 0; i < ready && sent < count; i++, sent++) {
            batch[n] = &cb[events[i].data];
            batch[n++]->aio_offset = (int64_t)(next_random() % blocks * bytes);
        }
        for (long put = 0; put < n;) {
            long took = syscall(SYS_io_submit, ctx, n - put, batch + put);
            if (took <= 0)
                return perror("io_submit"), 1;
            put += took;
        }
        ready = syscall(SYS_io_getevents, ctx, 1, depth, events, NULL);
        if (ready <= 0)
            return perror("io_getevents"), 1;
        for (long i = 0; i < ready; i++)
            if (events[i].res != (int64_t)bytes)
                return fprintf(stderr, "aio: a request ended with %lld\n", (long long)events[i].res), 1;
        done += (uint64_t)ready;
    }
    return 0;
}
