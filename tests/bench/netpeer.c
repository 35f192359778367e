// SPDX-License-Identifier: MIT
/* Both ends of every measurement and test of TCP, one program without needs, so that the same runs in a guest and beside any
 * VMM:
 *
 *   netpeer serve [ADDR] PORT [NAME...]  for ever, all of the below from any number of clients
 *   netpeer get ADDR PORT BYTES [SEC]    bytes from it: MB/s
 *   netpeer put ADDR PORT BYTES [SEC]    bytes to it: MB/s, until it has said that it has them
 *   netpeer rr ADDR PORT N [SEC]         one byte there and back, N times: round trips/s
 *   netpeer conn ADDR PORT N [SEC]       connect, a byte each way, close, N times: connections/s
 *   netpeer many ADDR PORT N [SECONDS]   N connections at once, all open for a while, then a byte each way on each
 *
 * SEC: no more after that time. With NAMEs get and put also say what processor time a gigabyte took of the server's
 * processes whose names begin so. get and put check each byte. Prints one line: what it did, the figure, seconds. Status 0: all of it was right. A client says
 * what it wants in its first 16 bytes: a letter, padding, and a count. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CHUNK = 256 * 1024,
    PERIOD = 65521, /* prime: bytes that go missing are seen */
    FDS = 65536,
};

struct hello {
    char what, pad[7];
    uint64_t n;
};

static uint8_t pattern[PERIOD + CHUNK];
static uint8_t buf[CHUNK];

static void fail(const char *what)
{
    printf("netpeer: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(uint64_t at, size_t n)
{
    if (memcmp(buf, pattern + at % PERIOD, n)) {
        printf("netpeer: wrong bytes after %llu\n", (unsigned long long)at);
        exit(1);
    }
}

/* --- what the VMMs use: proc(5), with all their threads, and so with their guests */

static char **counted; /* the beginnings of their names; NULL ends it */

static double used(void)
{
    unsigned long long user, kernel, ticks = 0;
    DIR *proc = opendir("/proc");
    for (struct dirent *e; proc && (e = readdir(proc));) {
        char path[300], comm[64];
        snprintf(path, sizeof path, "/proc/%s/stat", e->d_name);
        FILE *f = *e->d_name >= '1' && *e->d_name <= '9' ? fopen(path, "r") : NULL;
        if (f && fscanf(f, "%*d (%63[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", comm, &user,
                        &kernel) == 3)
            for (char **name = counted; *name; name++)
                if (!strncmp(comm, *name, strlen(*name))) {
                    ticks += user + kernel;
                    break;
                }
        if (f)
            fclose(f);
    }
    if (proc)
        closedir(proc);
    return (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

/* --- the server: one epoll, a state per descriptor */

struct conn {
    char what; /* 0: the hello is not whole yet */
    size_t have;
    struct hello hello;
    uint64_t done;
};
static struct conn *conns;

/* false: it is over */
static int step(int fd, struct conn *c)
{
    ssize_t n;
    while (!c->what) {
        n = read(fd, (char *)&c->hello + c->have, sizeof c->hello - c->have);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        if ((c->have += (size_t)n) == sizeof c->hello)
            c->what = c->hello.what;
    }
    if (c->what == 'u') {
        double seconds = *counted ? used() : 0;
        return write(fd, &seconds, sizeof seconds) < 0; /* over, all the same */
    }
    for (int turns = 16; turns; turns--) {
        if (c->what == 'g') {
            uint64_t left = c->hello.n - c->done;
            if (!left)
                return 0;
            n = write(fd, pattern + c->done % PERIOD, left < CHUNK ? (size_t)left : CHUNK);
        } else {
            n = read(fd, buf, c->what == 'p' ? CHUNK : 1);
            if (n > 0 && c->what == 'p')
                check(c->done, (size_t)n);
            if (!n && c->what == 'p' && write(fd, &c->done, sizeof c->done) < 0)
                return 0;
            if (n > 0 && c->what == 'r' && write(fd, buf, 1) != 1)
                return 0;
        }
        if (n < 0 && errno == EAGAIN)
            return 1;
        if (n <= 0)
            return 0;
        c->done += (uint64_t)n;
    }
    return 1;
}

static void serve(const char *addr, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int on = 1, ep = epoll_create1(0), lfd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = lfd}, got[64];
    conns = calloc(FDS, sizeof *conns);
    setsockopt(lfd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    inet_pton(AF_INET, addr, &a.sin_addr);
    if (!conns || bind(lfd, (struct sockaddr *)&a, sizeof a) || listen(lfd, 4096) ||
        epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev))
        fail("listen");
    for (;;) {
        int n = epoll_wait(ep, got, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = got[i].data.fd;
            if (fd != lfd) {
                if (!step(fd, &conns[fd]))
                    close(fd);
                else if (conns[fd].what == 'g') {
                    ev = (struct epoll_event){.events = EPOLLOUT, .data.fd = fd};
                    epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev);
                }
                continue;
            }
            while ((fd = accept4(lfd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= FDS) {
                    close(fd);
                    continue;
                }
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                conns[fd] = (struct conn){0};
                ev = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
                epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
            }
        }
    }
}

/* --- clients */

static struct sockaddr_in server;

static int dial(char what, uint64_t n)
{
    struct hello h = {.what = what, .n = n};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&server, sizeof server))
        fail("connect");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (write(fd, &h, sizeof h) != sizeof h)
        fail("write");
    return fd;
}

static void say(const char *what, double figure, const char *unit, double seconds)
{
    printf("%s %.1f %s %.2f s\n", what, figure, unit, seconds);
}

static void say_bytes(const char *what, uint64_t bytes, double seconds, double cpu)
{
    say(what, (double)bytes / 1e6 / seconds, "MB/s", seconds);
    if (cpu > 0)
        printf("cpu-%s %.2f s/GB\n", what, cpu * 1e9 / (double)bytes);
}

static double used_there(void)
{
    double seconds = 0;
    int fd = dial('u', 0);
    if (read(fd, &seconds, sizeof seconds) != sizeof seconds)
        fail("read");
    close(fd);
    return seconds;
}

static void get(uint64_t bytes, double limit)
{
    double cpu = used_there(), start = now();
    int fd = dial('g', bytes);
    uint64_t done = 0;
    ssize_t n;
    while ((n = read(fd, buf, CHUNK)) > 0 && now() - start < limit) {
        check(done, (size_t)n);
        done += (uint64_t)n;
    }
    double end = now();
    if (n < 0 || (!n && done != bytes))
        fail("read");
    say_bytes("get", done, end - start, used_there() - cpu);
}

static void put(uint64_t bytes, double limit)
{
    double cpu = used_there(), start = now();
    int fd = dial('p', bytes);
    uint64_t done = 0, there;
    while (done < bytes && now() - start < limit) {
        ssize_t n = write(fd, pattern + done % PERIOD, bytes - done < CHUNK ? (size_t)(bytes - done) : CHUNK);
        if (n <= 0)
            fail("write");
        done += (uint64_t)n;
    }
    shutdown(fd, SHUT_WR);
    if (read(fd, &there, sizeof there) != sizeof there || there != done)
        fail("read");
    double end = now();
    say_bytes("put", done, end - start, used_there() - cpu);
}

static void rr(uint64_t count, double limit)
{
    int fd = dial('r', 0);
    double start = now();
    uint64_t i;
    for (i = 0; i < count && now() - start < limit; i++)
        if (write(fd, "x", 1) != 1 || read(fd, buf, 1) != 1)
            fail("round trip");
    say("rr", (double)i / (now() - start), "/s", now() - start);
}

static void conn(uint64_t count, double limit)
{
    double start = now();
    uint64_t i;
    for (i = 0; i < count && now() - start < limit; i++) {
        int fd = dial('r', 0);
        if (write(fd, "x", 1) != 1 || read(fd, buf, 1) != 1)
            fail("round trip");
        close(fd);
    }
    say("conn", (double)i / (now() - start), "/s", now() - start);
}

static void many(uint64_t count, unsigned seconds)
{
    int *fds = calloc(count, sizeof *fds);
    double start = now();
    for (uint64_t i = 0; i < count; i++)
        fds[i] = dial('r', 0);
    double open = now() - start;
    sleep(seconds);
    for (uint64_t i = 0; i < count; i++)
        if (write(fds[i], "x", 1) != 1)
            fail("write");
    for (uint64_t i = 0; i < count; i++)
        if (read(fds[i], buf, 1) != 1 || *buf != 'x')
            fail("read");
    say("many", (double)count, "at once,", open);
}

int main(int argc, char **argv)
{
    struct rlimit lim;
    signal(SIGPIPE, SIG_IGN);
    if (!getrlimit(RLIMIT_NOFILE, &lim)) {
        lim.rlim_cur = lim.rlim_max < FDS ? lim.rlim_max : FDS;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = (uint8_t)(i % PERIOD * 2654435761u >> 13);
    if (argc >= 3 && !strcmp(argv[1], "serve")) {
        int port = argc > 3 && strchr(argv[2], '.') ? 3 : 2;
        counted = argv + port + 1;
        serve(port == 3 ? argv[2] : "0.0.0.0", atoi(argv[port]));
    }
    if (argc < 5) {
        fprintf(stderr, "usage: at the head of netpeer.c\n");
        return 2;
    }
    server = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
    inet_pton(AF_INET, argv[2], &server.sin_addr);
    uint64_t n = strtoull(argv[4], NULL, 0);
    double limit = argc > 5 ? atof(argv[5]) : 1e9;
    if (!strcmp(argv[1], "get"))
        get(n, limit);
    else if (!strcmp(argv[1], "put"))
        put(n, limit);
    else if (!strcmp(argv[1], "rr"))
        rr(n, limit);
    else if (!strcmp(argv[1], "conn"))
        conn(n, limit);
    else if (!strcmp(argv[1], "many"))
        many(n, argc > 5 ? (unsigned)atoi(argv[5]) : 1);
    else
        return 2;
    return 0;
}
