// SPDX-License-Identifier: MIT
/* Preloaded in front of libc (X7): FAULT="CALL NTH ERRNO" makes the NTH call of that name fail once, and then makes the file
 * FAULT_FIRED. Variadic calls are given on with as many words as the kernel ever takes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static char name[32];
static int nth, error;
static atomic_int calls;

__attribute__((constructor)) static void read_plan(void)
{
    const char *plan = getenv("FAULT");
    if (!plan || sscanf(plan, "%31s %d %d", name, &nth, &error) != 3)
        nth = 0;
}

static int fails(const char *call)
{
    const char *fired;
    if (!nth || strcmp(call, name) != 0 || atomic_fetch_add(&calls, 1) + 1 != nth)
        return 0;
    fired = getenv("FAULT_FIRED");
    if (fired)
        syscall(SYS_close, syscall(SYS_open, fired, O_CREAT | O_WRONLY, 0666));
    errno = error;
    return 1;
}

#define FRONT(type_, name_, params_, args_, bad_)                                                            \
    type_ name_ params_                                                                                      \
    {                                                                                                        \
        static type_(*real) params_;                                                                         \
        if (fails(#name_))                                                                                   \
            return bad_;                                                                                     \
        if (!real)                                                                                           \
            *(void **)&real = dlsym(RTLD_NEXT, #name_);                                                      \
        return real args_;                                                                                   \
    }

FRONT(int, epoll_create1, (int flags), (flags), -1)
FRONT(int, eventfd, (unsigned n, int flags), (n, flags), -1)
FRONT(int, epoll_ctl, (int e, int op, int fd, struct epoll_event *ev), (e, op, fd, ev), -1)
FRONT(int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags), -1)
FRONT(int, socket, (int domain, int type, int protocol), (domain, type, protocol), -1)
FRONT(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), -1)
FRONT(int, listen, (int fd, int n), (fd, n), -1)
FRONT(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t off),
      (at, n, prot, flags, fd, off), MAP_FAILED)
FRONT(int, madvise, (void *at, size_t n, int advice), (at, n, advice), -1)
FRONT(ssize_t, read, (int fd, void *to, size_t n), (fd, to, n), -1)
FRONT(ssize_t, pread, (int fd, void *to, size_t n, off_t at), (fd, to, n, at), -1)
FRONT(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*fn)(void *), void *arg),
      (t, a, fn, arg), error)
FRONT(int, mkdir, (const char *path, mode_t mode), (path, mode), -1)

int open(const char *path, int flags, ...)
{
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    return fails("open") ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    return fails("ioctl") ? -1 : (int)syscall(SYS_ioctl, fd, request, arg);
}

int fcntl(int fd, int op, ...)
{
    va_list ap;
    va_start(ap, op);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    return fails("fcntl") ? -1 : (int)syscall(SYS_fcntl, fd, op, arg);
}

extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_malloc(size_t size);
void *calloc(size_t n, size_t size)
{
    return fails("calloc") ? NULL : __libc_calloc(n, size);
}
void *malloc(size_t size)
{
    return fails("malloc") ? NULL : __libc_malloc(size);
}
