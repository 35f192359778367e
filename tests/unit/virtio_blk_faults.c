// SPDX-License-Identifier: MIT
/* A host that fails: the disk's system calls are this file's, and answer what a test wants. B4 and V19 of the bad inputs, by
 * both ways, io_uring and threads. */
#include "virtio_board.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "kvm/host/work.h"
#include "virtio/blk.h"

/* What the next calls answer: -errno, or at most so many bytes; 0: as ever. */
static _Atomic long fail_read, fail_write, fail_sync, fail_allocate, fail_enter, fail_setup;
static _Atomic unsigned syncs, fails; /* fails: how many calls may fail, then it works again */

static bool failing(_Atomic long *what)
{
    return *what && fails && fails--;
}

static ssize_t some(long what, long n, int fd, const struct iovec *iov, off_t at)
{
    struct iovec one = {iov->iov_base, iov->iov_len < (size_t)what ? iov->iov_len : (size_t)what};
    return syscall(n, fd, &one, 1, at, 0);
}
ssize_t preadv(int fd, const struct iovec *iov, int n, off_t at)
{
    if (!failing(&fail_read))
        return syscall(SYS_preadv, fd, iov, n, at, 0);
    if (fail_read > 0)
        return some(fail_read, SYS_preadv, fd, iov, at);
    errno = (int)-fail_read;
    return -1;
}
ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t at)
{
    if (!failing(&fail_write))
        return syscall(SYS_pwritev, fd, iov, n, at, 0);
    if (fail_write > 0)
        return some(fail_write, SYS_pwritev, fd, iov, at);
    errno = (int)-fail_write;
    return -1;
}
int fdatasync(int fd)
{
    syncs++;
    if (!failing(&fail_sync))
        return (int)syscall(SYS_fdatasync, fd);
    errno = (int)-fail_sync;
    return -1;
}
int fallocate(int fd, int mode, off_t at, off_t len)
{
    if (!failing(&fail_allocate))
        return (int)syscall(SYS_fallocate, fd, mode, at, len);
    errno = (int)-fail_allocate;
    return -1;
}
/* uring.c has no other way than this one */
long syscall(long n, ...)
{
    va_list ap;
    long a[6];
    va_start(ap, n);
    for (unsigned i = 0; i < 6; i++)
        a[i] = va_arg(ap, long);
    va_end(ap);
    long error = n == SYS_io_uring_enter && failing(&fail_enter)   ? fail_enter
                 : n == SYS_io_uring_setup && failing(&fail_setup) ? fail_setup
                                                                   : 0;
    if (error) {
        errno = (int)-error;
        return -1;
    }
    long result;
    register long r10 __asm__("r10") = a[3];
    register long r8 __asm__("r8") = a[4];
    register long r9 __asm__("r9") = a[5];
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(n), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

enum {
    HEADER = VQ_BUFFERS,
    STATUS = VQ_BUFFERS + 0x800,
    DATA = VQ_BUFFERS + 0x1000,
    SECTORS = 64,
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_DISCARD = 11,
    T_ZERO = 13,
};
#define ALL (F_VERSION_1 | F_BIT(9) | F_BIT(13) | F_BIT(14))

static int file;
static void blk_new(const char *more, uint64_t features)
{
    char path[] = "/tmp/vmlet-blk-XXXXXX", options[100];
    file = mkstemp(path);
    CHECK(file >= 0);
    for (unsigned i = 0; i < SECTORS * 512; i++)
        CHECK(pwrite(file, &(uint8_t){(uint8_t)(i / 512 + 1)}, 1, i) == 1);
    fail_read = 0;
    fail_write = 0;
    fail_sync = 0;
    fail_allocate = 0;
    fail_enter = 0;
    vdev_prepare();
    log_set_level(LOG_LEVEL_ERROR);
    m->board.work = work_new(m->board.loop, 2);
    snprintf(options, sizeof options, "file=%s%s", path, more);
    vdev_add(&blk_class, options);
    unlink(path);
    vdev_start(features);
}

static unsigned request(uint32_t type, uint64_t sector, uint32_t bytes, uint32_t *len)
{
    uint32_t id, l;
    g_write(HEADER, type, 4);
    g_write(HEADER + 8, sector, 8);
    g_write(STATUS, 0xaa, 1);
    unsigned before = vq_used_idx(0);
    vq_add(0,
           (struct vq_buf[]){
               {HEADER, 16,    0                         },
               {DATA,   bytes, type == T_IN ? F_WRITE : 0},
               {STATUS, 1,     F_WRITE                   }
    },
           3, 0);
    vq_kick(0);
    CHECK(VD_UNTIL(vq_used_idx(0) != before));
    CHECK(vq_used(0, &id, &l));
    CHECK(!vq_used(0, &id, &l));
    CHECK_EQ(vd_status() & ST_NEEDS_RESET, 0);
    if (len)
        *len = l;
    return (unsigned)g_read(STATUS, 1);
}

TEST(B4_V19_errors_of_the_host_are_errors_in_the_guest)
{
    static const int errors[] = {EIO, ENOSPC, EDQUOT, ENXIO, ESTALE, EBADF};
    blk_new(",threads", ALL);
    for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++) {
        uint32_t len;
        fails = 1;
        fail_read = -errors[i];
        g_fill(DATA, 0x77, 512);
        CHECK_EQ(request(T_IN, 1, 512, &len), 1);
        CHECK_EQ(len, 0);
        CHECK_EQ(g_read(DATA, 4), 0x77777777);
        fails = 1;
        fail_write = -errors[i];
        CHECK_EQ(request(T_OUT, 1, 512, NULL), 1);
        fails = 1;
        fail_read = 0;
        fail_write = 0;
        fail_allocate = -errors[i];
        g_write(DATA, 8, 8), g_write(DATA + 8, 8, 4), g_write(DATA + 12, 0, 4);
        CHECK_EQ(request(T_DISCARD, 0, 16, NULL), 1);
        fails = 1;
        CHECK_EQ(request(T_ZERO, 0, 16, NULL), 1);
        fail_allocate = 0;
        CHECK_EQ(request(T_IN, 1, 512, &len), 0);
        CHECK_EQ(len, 513);
        CHECK_EQ(g_read(DATA, 1), 2);
    }
}

TEST(B4_calls_that_do_a_part_or_are_interrupted)
{
    blk_new(",threads", ALL);
    fails = 5;
    fail_read = 100; /* bytes at a time */
    CHECK_EQ(request(T_IN, 3, 1024, NULL), 0);
    CHECK(g_read(DATA, 1) == 4 && g_read(DATA + 511, 1) == 4 && g_read(DATA + 512, 1) == 5 &&
          g_read(DATA + 1023, 1) == 5);
    fails = 3;
    fail_read = -EINTR;
    CHECK_EQ(request(T_IN, 3, 512, NULL), 0);
    fails = 4;
    fail_read = 0;
    fail_write = 33;
    g_fill(DATA, 0x5a, 512);
    CHECK_EQ(request(T_OUT, 9, 512, NULL), 0);
    uint8_t b[2];
    CHECK(pread(file, b, 2, 9 * 512 + 510) == 2 && b[0] == 0x5a && b[1] == 0x5a);
    CHECK(pread(file, b, 2, 10 * 512) == 2 && b[0] == 11);
    /* a file system without holes or zero ranges: zeros by hand */
    fails = 2;
    fail_write = 0;
    fail_allocate = -EOPNOTSUPP;
    g_write(DATA, 20, 8), g_write(DATA + 8, 4, 4), g_write(DATA + 12, 1, 4);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), 0);
    CHECK(pread(file, b, 2, 20 * 512) == 2 && b[0] == 0 && b[1] == 0);
    CHECK(pread(file, b, 2, 24 * 512 - 1) == 2 && b[0] == 0 && b[1] == 25);
    fails = 1;
    g_write(DATA + 12, 0, 4);
    CHECK_EQ(request(T_DISCARD, 0, 16, NULL), 0); /* a hint */
}

/* fdatasync() that failed once may have dropped what it was to write: nothing after it may say that all is well. */
TEST(blk_no_flush_succeeds_after_one_has_failed)
{
    blk_new(",threads", ALL);
    CHECK_EQ(request(T_FLUSH, 0, 0, NULL), 0);
    fails = 1;
    fail_sync = -EIO;
    CHECK_EQ(request(T_FLUSH, 0, 0, NULL), 1);
    CHECK_EQ(request(T_FLUSH, 0, 0, NULL), 1);
    CHECK_EQ(request(T_IN, 0, 512, NULL), 0);
    CHECK_EQ(request(T_OUT, 0, 512, NULL), 0);
    vdev_start(ALL);
    CHECK_EQ(request(T_FLUSH, 0, 0, NULL), 1);
}

TEST(blk_writes_are_through_where_the_driver_does_not_flush)
{
    blk_new(",threads", ALL);
    syncs = 0;
    CHECK_EQ(request(T_OUT, 0, 512, NULL), 0);
    CHECK_EQ(syncs, 0);
    vdev_start(F_VERSION_1); /* without FLUSH */
    CHECK_EQ(request(T_OUT, 0, 512, NULL), 0);
    CHECK_EQ(syncs, 1);
    fails = 1;
    fail_sync = -EIO;
    CHECK_EQ(request(T_OUT, 0, 512, NULL), 1);
    fail_sync = 0;
    CHECK_EQ(request(T_OUT, 8, 512, NULL), 1); /* the host may have dropped this one with the first */
    CHECK_EQ(request(T_IN, 0, 512, NULL), 0);
    blk_new("", F_VERSION_1);
    CHECK_EQ(request(T_OUT, 0, 512, NULL), 0); /* RWF_DSYNC: the kernel's own way */
}

/* Zeros are a write as others. */
TEST(B4_zeros_after_a_lost_flush_are_not_through)
{
    blk_new(",threads", ALL);
    fails = 1;
    fail_sync = -EIO;
    CHECK_EQ(request(T_FLUSH, 0, 0, NULL), 1);
    fail_sync = 0;
    g_write(DATA, 8, 8), g_write(DATA + 8, 8, 4), g_write(DATA + 12, 0, 4);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), 0); /* cached: nothing is promised */
    vdev_start(F_VERSION_1 | F_BIT(14));       /* without FLUSH */
    g_write(DATA, 8, 8), g_write(DATA + 8, 8, 4), g_write(DATA + 12, 0, 4);
    CHECK_EQ(request(T_OUT, 0, 512, NULL), 1);
    g_write(DATA, 8, 8), g_write(DATA + 8, 8, 4), g_write(DATA + 12, 0, 4);
    CHECK_EQ(request(T_ZERO, 0, 16, NULL), 1);
}

TEST(blk_goes_on_where_io_uring_takes_nothing)
{
    static const int errors[] = {EAGAIN, EBUSY, ENOMEM};
    blk_new("", ALL);
    for (unsigned i = 0; i < 3; i++) {
        fails = 1;
        fail_enter = -errors[i]; /* the request goes to a thread instead */
        CHECK_EQ(request(T_IN, 7, 512, NULL), 0);
        CHECK_EQ(g_read(DATA, 1), 8);
        fails = 1;
        CHECK_EQ(request(T_FLUSH, 0, 0, NULL), 0);
    }
    fails = 2;
    fail_enter = -EINTR;
    CHECK_EQ(request(T_IN, 5, 512, NULL), 0);
    fails = 1;
    fail_enter = -EBADF;
    CHECK_EQ(request(T_IN, 5, 512, NULL), 1);
    CHECK_EQ(request(T_IN, 5, 512, NULL), 0);
    /* many at once, all taken back */
    fails = 1;
    fail_enter = -EAGAIN;
    vq_add_reads(0, DATA, 20);
    unsigned before = vq_used_idx(0);
    vq_kick(0);
    CHECK(VD_UNTIL((uint16_t)(vq_used_idx(0) - before) >= 20));
    CHECK_EQ((uint16_t)(vq_used_idx(0) - before), 20);
    for (unsigned i = 0; i < 20; i++)
        CHECK_EQ(g_read(DATA + 0x800 * i + 0x200 + 100, 1), i + 1);
}

TEST(blk_without_io_uring_uses_threads)
{
    static const int errors[] = {ENOSYS, EPERM, ENOMEM};
    for (unsigned i = 0; i < 3; i++) {
        fails = 1;
        fail_setup = -errors[i];
        blk_new("", ALL);
        fail_setup = 0;
        CHECK_EQ(fails, 0);
        CHECK_EQ(request(T_IN, 5, 512, NULL), 0);
        CHECK_EQ(g_read(DATA, 1), 6);
        CHECK_EQ(request(T_FLUSH, 0, 0, NULL), 0);
    }
}
