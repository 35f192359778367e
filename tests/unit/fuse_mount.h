/* SPDX-License-Identifier: MIT
 *
 * The FUSE server under this machine's own kernel, by /dev/fuse: DIR/share is the host's folder, DIR/mount what a guest sees of
 * it. The mount is the process's own and ends with it. */
#ifndef TESTS_UNIT_FUSE_MOUNT_H
#define TESTS_UNIT_FUSE_MOUNT_H

#include "fuse_board.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

enum {
    SERVERS = 3,
    BUFFER = (1 << 20) + 8192
};

struct mounted {
    struct fuse_server *s;
    char dir[64], at[96];
    int fd;
    atomic_bool end;
    pthread_t thread[SERVERS];
};

static void *serve(void *arg)
{
    struct mounted *m = arg;
    char *req = malloc(BUFFER), *rep = malloc(BUFFER);
    while (req && rep) {
        struct pollfd p = {m->fd, POLLIN, 0};
        poll(&p, 1, 100);
        if (atomic_load(&m->end))
            break;
        ssize_t n = read(m->fd, req, BUFFER);
        if (n <= 0) {
            if (n < 0 && errno != EINTR && errno != EAGAIN && errno != ENOENT)
                break; /* unmounted */
            continue;
        }
        struct iovec in = {req, (size_t)n}, out = {rep, BUFFER};
        size_t len;
        if (!fuse_answer_at_once(m->s, &in, 1, &out, 1, &len))
            len = fuse_answer(m->s, &in, 1, &out, 1);
        if (len && write(m->fd, rep, len) < 0 && errno != ENOENT)
            fprintf(stderr, "opcode %u: the kernel refuses the answer of %zu bytes: %s\n",
                    *(uint32_t *)(req + 4), len, strerror(errno));
    }
    free(req);
    free(rep);
    return NULL;
}

/* Served from fork_client() on. NULL: or why not. */
static const char *mount_at(struct mounted *m, const struct fuse_config *with)
{
    char err[256], options[128];
    if (geteuid())
        return "not root";
    m->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (m->fd < 0)
        return "no /dev/fuse";
    /* A mount that nobody else sees, and that ends with us. */
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "no mounts of one's own";
    snprintf(m->dir, sizeof m->dir, "/tmp/vmlet-fuse-XXXXXX");
    CHECK(mkdtemp(m->dir));
    snprintf(m->at, sizeof m->at, "%s/share", m->dir);
    CHECK(mkdir(m->at, 0755) == 0);
    struct fuse_config config = with ? *with : (struct fuse_config){0};
    config.name = "fs0";
    if (!config.path)
        config.path = m->at;
    m->s = fuse_new(&config, err, sizeof err);
    CHECK(m->s);
    snprintf(m->at, sizeof m->at, "%s/mount", m->dir);
    CHECK(mkdir(m->at, 0755) == 0);
    snprintf(options, sizeof options,
             "fd=%d,rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other", m->fd);
    if (mount("vmlet", m->at, "fuse", 0, options) < 0)
        return "mount() is refused";
    return NULL;
}

/* Forks who works in the mount, and only then starts the threads that serve it: a child of a process with threads has the locks
 * of its memory as another thread left them (the sanitizers' are never given back). */
static pid_t fork_client(struct mounted *m)
{
    pid_t pid = fork();
    for (int i = 0; pid && i < SERVERS; i++)
        CHECK(pthread_create(&m->thread[i], NULL, serve, m) == 0);
    return pid;
}

static void unmount(struct mounted *m)
{
    umount2(m->at, MNT_DETACH);
    atomic_store(&m->end, true);
    for (int i = 0; i < SERVERS && m->thread[i]; i++)
        pthread_join(m->thread[i], NULL);
    if (m->fd >= 0)
        close(m->fd);
    fuse_free(m->s);
    if (*m->dir)
        files_remove(m->dir);
}

#endif
