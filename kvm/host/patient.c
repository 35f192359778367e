// SPDX-License-Identifier: MIT
/* Bounded waits for slow receivers: see include/kvm/host/patient.h. Nothing tells when a FIFO gets its reader, so that is asked
 * for fifty times a second. */
#include "kvm/host/ns.h"
#include "kvm/host/patient.h"
#include "kvm/host/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STEP_NS (20 * MS)

/* Sleeps a step. False and errno: no more waiting. */
static bool wait_step(uint64_t began, uint64_t ns)
{
    if (signals_pending()) {
        errno = EINTR;
        return false;
    }
    if (ns != PATIENT_FOREVER && ns_on(CLOCK_MONOTONIC) - began >= ns) {
        errno = ETIMEDOUT;
        return false;
    }
    nanosleep(&(struct timespec){.tv_nsec = STEP_NS}, NULL);
    return true;
}

static bool is_fifo(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
}

int patient_open(const char *path, int flags, uint64_t ns)
{
    uint64_t began = ns_on(CLOCK_MONOTONIC);
    for (;;) {
        int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC | O_NOCTTY, 0666);
        if (fd >= 0 || (errno != ENXIO && errno != EINTR))
            return fd;
        if (errno == ENXIO && !is_fifo(path)) {
            errno = ENXIO; /* a socket, a device without hardware: it will not get better */
            return -1;
        }
        if (!wait_step(began, ns))
            return -1;
    }
}

bool patient_blocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == 0;
}

bool patient_write(int fd, const void *data, size_t n, uint64_t ns)
{
    const char *p = data;
    uint64_t began = ns_on(CLOCK_MONOTONIC);
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w == 0)
            errno = EIO;
        if (w == 0 || (w < 0 && errno != EAGAIN && errno != EINTR))
            return false;
        if (w < 0 && !wait_step(began, ns))
            return false;
        if (w > 0) {
            p += w;
            n -= (size_t)w;
        }
    }
    return true;
}
