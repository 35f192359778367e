// SPDX-License-Identifier: MIT
#include "test.h"
#include "kvm/host/stream.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The loop really runs here: a stream's thread is outside of any fake clock. One callback stops it. */
struct owner {
    struct loop *loop;
    int rooms, empties, errors, error;
    bool stop_on_room;
};

static void on_room(void *arg)
{
    struct owner *o = arg;
    o->rooms++;
    if (o->stop_on_room)
        loop_stop(o->loop);
}
static void on_empty(void *arg)
{
    struct owner *o = arg;
    o->empties++;
    loop_stop(o->loop);
}
static void on_error(void *arg, int error)
{
    struct owner *o = arg;
    o->errors++;
    o->error = error;
}
static const struct stream_out_ops ops = {on_room, on_empty, on_error};

static void flush(struct owner *o, struct stream_out *s)
{
    stream_out_notify_empty(s);
    loop_run(o->loop);
    CHECK(stream_out_is_empty(s));
}

/* Whether the threads of that name sleep. One with something to do that holds no lock sleeps in read() or write(), and not just
 * for want of a processor: nothing changes any more until the other end does something. */
static bool asleep(const char *name)
{
    DIR *tasks = opendir("/proc/self/task");
    unsigned found = 0, sleeping = 0;
    CHECK(tasks);
    for (struct dirent *d; (d = readdir(tasks));) {
        char path[300], stat[200] = "", comm[40];
        snprintf(path, sizeof path, "/proc/self/task/%s/stat", d->d_name);
        snprintf(comm, sizeof comm, "(%s) ", name);
        FILE *f = d->d_name[0] == '.' ? NULL : fopen(path, "re");
        if (!f)
            continue;
        const char *at = fgets(stat, sizeof stat, f) ? strstr(stat, comm) : NULL;
        fclose(f);
        found += at != NULL;
        sleeping += at && at[strlen(comm)] == 'S';
    }
    closedir(tasks);
    return found && sleeping == found;
}

static int temp_file(void)
{
    char path[] = "/tmp/vmlet-unit-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    unlink(path);
    return fd;
}

static uint8_t pattern(size_t i)
{
    return (uint8_t)(i * 7 + i / 251);
}

/* Random pieces through a small ring into a file: everything arrives, in order. */
TEST(stream_out_is_complete_and_in_order)
{
    struct owner o = {.loop = loop_new(NULL), .stop_on_room = true};
    int fd = temp_file();
    struct stream_out *s = stream_out_new(o.loop, fd, 97, &ops, &o);
    uint64_t seed = 3;
    size_t total = 0, want = 50000;
    uint8_t piece[200];
    while (total < want) {
        size_t n = test_rand(&seed) % sizeof piece + 1;
        for (size_t i = 0; i < n; i++)
            piece[i] = pattern(total + i);
        size_t took = stream_out_write(s, piece, n);
        CHECK(took <= n && took <= 97);
        total += took;
        if (took < n)
            loop_run(o.loop); /* until room() */
    }
    flush(&o, s);
    CHECK(o.rooms > 0);
    CHECK_EQ(o.errors, 0);
    stream_out_free(s);
    struct stat st;
    CHECK(!fstat(fd, &st));
    CHECK_EQ(st.st_size, total);
    lseek(fd, 0, SEEK_SET);
    for (size_t at = 0; at < total;) {
        ssize_t n = read(fd, piece, sizeof piece);
        CHECK(n > 0);
        for (ssize_t i = 0; i < n; i++)
            CHECK_EQ(piece[i], pattern(at + (size_t)i));
        at += (size_t)n;
    }
    close(fd);
    loop_free(o.loop);
}

/* A burst of single bytes becomes few writes: a datagram socket shows how many. */
TEST(stream_out_gathers_single_bytes)
{
    struct owner o = {.loop = loop_new(NULL)};
    int sv[2], writes = 0;
    char buf[4096];
    size_t bytes = 0;
    CHECK(!socketpair(AF_UNIX, SOCK_DGRAM, 0, sv));
    struct stream_out *s = stream_out_new(o.loop, sv[0], 4096, &ops, &o);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(stream_out_write(s, "x", 1), 1);
    flush(&o, s);
    for (ssize_t n; (n = recv(sv[1], buf, sizeof buf, MSG_DONTWAIT)) > 0; writes++)
        bytes += (size_t)n;
    CHECK_EQ(bytes, 1000);
    CHECK(writes < 200); /* some 1 to 3, unless the machine is very busy */
    stream_out_free(s);
    close(sv[0]), close(sv[1]);
    loop_free(o.loop);
}

TEST(S3_stdout_is_a_full_pipe)
{
    struct owner o = {.loop = loop_new(NULL)};
    int p[2];
    CHECK(!pipe(p));
    fcntl(p[1], F_SETPIPE_SZ, 4096);
    struct stream_out *s = stream_out_new(o.loop, p[1], 1000, &ops, &o);
    uint8_t data[64];
    size_t total = 0, took;
    bool hangs;
    /* The guest prints for ever; nobody reads. Once pipe and ring are full nothing more is taken, and nobody blocks. */
    do {
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = pattern(total + i);
        hangs = asleep("output"); /* and then there is no room: in write() */
        took = stream_out_write(s, data, sizeof data);
        total += took;
        loop_step(o.loop);
        sched_yield();
    } while (took || !hangs);
    CHECK(total <= 4096 + 1000 + 1000);
    CHECK_EQ(stream_out_room(s), 0);
    CHECK_EQ(o.errors, 0);
    CHECK(!(fcntl(p[1], F_GETFL) & O_NONBLOCK));
    CHECK(!stream_out_is_empty(s));
    o.rooms = 0;
    /* Somebody reads: room() comes, and not a byte is missing. */
    uint8_t got[8192];
    size_t at = 0;
    while (at < total) {
        ssize_t n = read(p[0], got + at, 512);
        CHECK(n > 0);
        at += (size_t)n;
    }
    for (size_t i = 0; i < total; i++)
        CHECK_EQ(got[i], pattern(i));
    flush(&o, s);
    CHECK_EQ(o.rooms, 1);
    CHECK_EQ(o.empties, 1);
    stream_out_free(s);
    close(p[0]), close(p[1]);
    loop_free(o.loop);
}

static void *read_all(void *arg)
{
    char buf[4096];
    while (read(*(int *)arg, buf, sizeof buf) > 0)
        ;
    return NULL;
}

TEST(S3_stream_freed_while_its_write_hangs)
{
    struct owner o = {.loop = loop_new(NULL)};
    int p[2];
    char data[8192] = {0};
    CHECK(!pipe(p));
    fcntl(p[1], F_SETPIPE_SZ, 4096);
    struct stream_out *s = stream_out_new(o.loop, p[1], sizeof data, &ops, &o);
    CHECK_EQ(stream_out_write(s, data, sizeof data), sizeof data);
    stream_out_notify_empty(s); /* no lingering */
    struct pollfd pfd = {.fd = p[1], .events = POLLOUT};
    while (poll(&pfd, 1, 0)) /* until the pipe is full: the thread is in write(), or about to be */
        sched_yield();
    stream_out_free(s); /* returns */
    CHECK_EQ(loop_step(o.loop), 0);
    close(p[1]);
    /* Its own descriptor goes when the write can end, so the reader sees the end of the file. */
    pthread_t t;
    CHECK(!pthread_create(&t, NULL, read_all, &p[0]));
    pthread_join(t, NULL);
    close(p[0]);
    loop_free(o.loop);
}

TEST(S3_stdout_has_no_reader)
{
    struct owner o = {.loop = loop_new(NULL)};
    int p[2];
    CHECK(!pipe(p));
    close(p[0]);
    struct stream_out *s = stream_out_new(o.loop, p[1], 100, &ops, &o);
    CHECK_EQ(stream_out_write(s, "hello", 5), 5); /* SIGPIPE must not kill us */
    flush(&o, s);
    CHECK_EQ(o.errors, 1);
    CHECK_EQ(o.error, EPIPE);
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(stream_out_write(s, "the guest goes on", 17), 17);
    flush(&o, s);
    CHECK_EQ(o.errors, 1); /* once */
    CHECK_EQ(stream_out_error(s), EPIPE);
    CHECK_EQ(stream_out_room(s), 100);
    stream_out_free(s);
    close(p[1]);
    loop_free(o.loop);
}

/* Who sees the stream empty and ends has been told that it is so because all was lost. */
TEST(S3_lost_is_not_empty_before_it_is_told)
{
    struct owner o = {.loop = loop_new(NULL)};
    int fd = open("/dev/full", O_WRONLY);
    CHECK(fd >= 0);
    struct stream_out *s = stream_out_new(o.loop, fd, 100, &ops, &o);
    CHECK_EQ(stream_out_write(s, "hello", 5), 5);
    while (!stream_out_error(s)) /* the loop does not run meanwhile */
        sched_yield();
    CHECK(!stream_out_is_empty(s));
    CHECK_EQ(o.errors, 0);
    flush(&o, s);
    CHECK(stream_out_is_empty(s));
    CHECK_EQ(o.errors, 1);
    stream_out_free(s);
    close(fd);
    loop_free(o.loop);
}

TEST(S3_stdout_is_a_full_disk)
{
    struct owner o = {.loop = loop_new(NULL)};
    int fd = open("/dev/full", O_WRONLY);
    CHECK(fd >= 0);
    struct stream_out *s = stream_out_new(o.loop, fd, 100, &ops, &o);
    CHECK_EQ(stream_out_write(s, "hello", 5), 5);
    flush(&o, s);
    CHECK_EQ(o.errors, 1);
    CHECK_EQ(o.error, ENOSPC);
    stream_out_free(s);
    close(fd);
    loop_free(o.loop);
}

TEST(S3_stdout_is_closed)
{
    struct owner o = {.loop = loop_new(NULL)};
    struct stream_out *s = stream_out_new(o.loop, 9999, 100, &ops, &o);
    CHECK(s);
    flush(&o, s);
    CHECK_EQ(o.errors, 0); /* nothing was written yet */
    CHECK_EQ(stream_out_write(s, "x", 1), 1);
    flush(&o, s);
    CHECK_EQ(o.error, EBADF);
    stream_out_free(s);
    loop_free(o.loop);
}

static void free_in_error(void *arg, int error)
{
    struct owner *o = arg;
    o->error = error;
    stream_out_free(*(struct stream_out **)(o + 1));
    loop_stop(o->loop);
}

TEST(stream_out_freed_in_its_callback)
{
    struct {
        struct owner o;
        struct stream_out *s;
    } x = {.o = {.loop = loop_new(NULL)}};
    static const struct stream_out_ops free_ops = {on_room, on_empty, free_in_error};
    x.s = stream_out_new(x.o.loop, 9999, 100, &free_ops, &x.o);
    CHECK_EQ(stream_out_write(x.s, "x", 1), 1);
    stream_out_notify_empty(x.s);
    loop_run(x.o.loop);
    CHECK_EQ(x.o.error, EBADF);
    CHECK_EQ(x.o.empties, 0);
    loop_free(x.o.loop);
}

TEST(X7_stream_out_eagain_and_eintr)
{
    struct owner o = {.loop = loop_new(NULL), .stop_on_room = true};
    int p[2];
    CHECK(!pipe2(p, O_NONBLOCK)); /* as another process may have set it */
    fcntl(p[1], F_SETPIPE_SZ, 4096);
    struct stream_out *s = stream_out_new(o.loop, p[1], 3000, &ops, &o);
    static uint8_t data[100000], got[100000];
    size_t sent = 0, at = 0;
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = pattern(i);
    while (at < sizeof data) {
        sent += stream_out_write(s, data + sent, sizeof data - sent);
        ssize_t n = read(p[0], got + at, sizeof got - at);
        if (n > 0)
            at += (size_t)n;
        else
            sched_yield();
    }
    CHECK(!memcmp(data, got, sizeof data));
    CHECK_EQ(o.errors, 0);
    CHECK(fcntl(p[1], F_GETFL) & O_NONBLOCK);
    stream_out_free(s);
    close(p[0]), close(p[1]);
    loop_free(o.loop);
}

/* --- in --- */

struct consumer {
    struct loop *loop;
    struct stream_in *s;
    int readies;
    size_t at;
    bool good;
};

static void stop_ready(void *arg)
{
    struct consumer *c = arg;
    c->readies++;
    loop_stop(c->loop);
}

static void eat_ready(void *arg)
{
    struct consumer *c = arg;
    uint8_t buf[61];
    c->readies++;
    for (size_t n; (n = stream_in_read(c->s, buf, sizeof buf)) > 0; c->at += n)
        for (size_t i = 0; i < n; i++)
            c->good &= buf[i] == pattern(c->at + i);
    if (stream_in_ended(c->s))
        loop_stop(c->loop);
}

static void *write_pattern(void *arg)
{
    int fd = *(int *)arg;
    uint8_t buf[777];
    for (size_t at = 0; at < 100000;) {
        size_t n = 100000 - at < sizeof buf ? 100000 - at : sizeof buf;
        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(at + i);
        ssize_t w = write(fd, buf, n);
        if (w < 0)
            break;
        at += (size_t)w;
    }
    close(fd);
    return NULL;
}

TEST(stream_in_pipe_file_and_their_ends)
{
    for (int kind = 0; kind < 2; kind++) {
        struct consumer c = {.loop = loop_new(NULL), .good = true};
        int p[2];
        pthread_t t;
        if (kind == 0) {
            CHECK(!pipe(p));
        } else {
            p[0] = temp_file();
            p[1] = dup(p[0]);
        }
        int flags = fcntl(p[0], F_GETFL);
        CHECK(!pthread_create(&t, NULL, write_pattern, &p[1]));
        if (kind == 1) {
            pthread_join(t, NULL);
            lseek(p[0], 0, SEEK_SET);
        }
        c.s = stream_in_new(c.loop, p[0], 1000, eat_ready, &c);
        CHECK_EQ(loop_step(c.loop), 0); /* nothing is read before the start */
        stream_in_start(c.s);
        loop_run(c.loop);
        if (kind == 0)
            pthread_join(t, NULL);
        CHECK_EQ(c.at, 100000);
        CHECK(c.good);
        CHECK_EQ(stream_in_error(c.s), 0);
        CHECK_EQ(fcntl(p[0], F_GETFL), flags);
        stream_in_free(c.s);
        close(p[0]);
        loop_free(c.loop);
    }
}

/* What comes in and is not wanted stays where it is: the ring fills once, and then the pipe is left alone. */
TEST(S2_stdin_flood_while_the_guest_reads_nothing)
{
    struct consumer c = {.loop = loop_new(NULL)};
    int p[2];
    static char block[65536];
    size_t total = 0;
    CHECK(!pipe2(p, O_NONBLOCK));
    c.s = stream_in_new(c.loop, p[0], 4096, stop_ready, &c);
    stream_in_start(c.s);
    /* 1 GiB is offered; of it a pipe, a ring and no more is taken. */
    struct pollfd pfd = {.fd = p[1], .events = POLLOUT};
    bool done = false;
    for (size_t offered = 0; offered < (1u << 30) || !done; offered += sizeof block) {
        /* for the guest, if the pipe is full: it may just have had no processor */
        bool waits = offered >= (1u << 30) && c.readies && asleep("input");
        ssize_t n = write(p[1], block, sizeof block);
        total += n > 0 ? (size_t)n : 0;
        done = waits && n < 0;
        loop_step(c.loop);
    }
    CHECK(total <= 65536 + 4096 + 65536);
    CHECK_EQ(c.readies, 1); /* one wake-up for all of it */
    CHECK(stream_in_available(c.s) > 2048 && stream_in_available(c.s) <= 4096);
    CHECK(poll(&pfd, 1, 0) == 0);
    char buf[4096]; /* and it goes on when the guest reads */
    CHECK(stream_in_read(c.s, buf, sizeof buf) > 2048);
    while (c.readies < 2)
        loop_run(c.loop);
    stream_in_free(c.s);
    close(p[0]), close(p[1]);
    loop_free(c.loop);
}

TEST(stream_in_null_closed_directory)
{
    struct consumer c = {.loop = loop_new(NULL)};
    int null = open("/dev/null", O_RDONLY), dir = open("/", O_RDONLY);
    int fds[] = {null, 9999, dir}, errors[] = {0, EBADF, EISDIR};
    for (int i = 0; i < 3; i++) {
        c.readies = 0;
        c.s = stream_in_new(c.loop, fds[i], 100, stop_ready, &c);
        CHECK(c.s && !stream_in_ended(c.s));
        stream_in_start(c.s);
        loop_run(c.loop);
        CHECK(stream_in_ended(c.s));
        CHECK_EQ(stream_in_error(c.s), errors[i]);
        CHECK_EQ(c.readies, 1);
        stream_in_free(c.s);
    }
    close(null), close(dir);
    loop_free(c.loop);
}

/* Lines come, hang-up is the end. */
TEST(stream_in_terminal)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master))
        SKIP("no terminals of one's own (/dev/ptmx, /dev/pts)");
    struct consumer c = {.loop = loop_new(NULL)};
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0);
    c.s = stream_in_new(c.loop, slave, 100, stop_ready, &c);
    stream_in_start(c.s);
    CHECK(write(master, "hi\n", 3) == 3);
    loop_run(c.loop);
    char buf[16];
    CHECK_EQ(stream_in_read(c.s, buf, sizeof buf), 3);
    close(master);
    loop_run(c.loop);
    CHECK(stream_in_ended(c.s));
    stream_in_free(c.s);
    close(slave);
    loop_free(c.loop);
}

TEST(stream_in_freed_while_it_waits)
{
    struct consumer c = {.loop = loop_new(NULL)};
    int p[2];
    CHECK(!pipe(p));
    for (int i = 0; i < 200; i++) { /* at whatever point of its life the thread is */
        c.s = stream_in_new(c.loop, p[0], 100, stop_ready, &c);
        stream_in_start(c.s);
        if (i & 1)
            CHECK(write(p[1], "x", 1) == 1);
        for (int j = 0; j < i % 7; j++)
            sched_yield();
        stream_in_free(c.s);
        CHECK_EQ(loop_step(c.loop), 0);
    }
    c.s = stream_in_new(c.loop, p[0], 100, stop_ready, &c);
    stream_in_free(c.s); /* never started */
    stream_in_free(NULL);
    stream_out_free(NULL);
    close(p[0]), close(p[1]);
    loop_free(c.loop);
}

static void closed_standard(int closed, int *errors)
{
    fflush(stdout);
    int status;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (!pid) {
        char c = 0;
        for (int fd = 0; fd < 3; fd++)
            if (closed & (1 << fd))
                close(fd);
        stream_reserve_standard();
        int next = open("/dev/null", O_RDWR), good = 0;
        if (next < 3)
            _exit(100);
        for (int fd = 0; fd < 3; fd++)
            good |= (fd ? write(fd, "", 0) : read(fd, &c, 1)) < 0 && errno == EBADF ? 1 << fd : 0;
        _exit(good);
    }
    CHECK(waitpid(pid, &status, 0) == pid && WIFEXITED(status));
    *errors = WEXITSTATUS(status);
}

TEST(S3_closed_standard_descriptors_stay_closed)
{
    for (int closed = 0; closed < 8; closed++) {
        int errors;
        closed_standard(closed, &errors);
        CHECK_EQ(errors & closed, closed);
    }
}
