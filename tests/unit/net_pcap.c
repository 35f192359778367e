// SPDX-License-Identifier: MIT
/* Captures: the file is what tcpdump expects, FIFOs hold nobody up, a full disk ends the capture and nothing else. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "net/pcap.h"

static uint64_t now;
static struct loop *loop;
static struct net net;
static struct port a, b;
static struct pcap *pcap;
static char folder[] = "/tmp/pcap-XXXXXX", path[64], err[512];

static uint64_t fake_now(void *ctx)
{
    (void)ctx;
    return now;
}

static enum port_result take(struct port *port, const struct iovec *iov, int n, const struct port_meta *meta)
{
    (void)port, (void)iov, (void)n, (void)meta;
    return PORT_SENT;
}
static const struct port_ops ops = {.receive = take};

static void set_up(bool fifo)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    snprintf(folder, sizeof folder, "/tmp/pcap-XXXXXX");
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    if (fifo)
        CHECK(!mkfifo(path, 0600));
    now = 1000;
    loop = loop_new(&(struct clock){fake_now, NULL});
    net_init(&net, loop);
    CHECK(port_init(&a, &net, "a", &ops) && port_init(&b, &net, "b", &ops));
    port_accept(&a, PORT_ACCEPT_ALL);
    port_accept(&b, PORT_ACCEPT_ALL);
    port_connect(&a, &b);
    pcap = pcap_new(loop, "net0", path, err, sizeof err);
    if (!pcap)
        printf("%s\n", err);
    CHECK(pcap);
    pcap_watch(pcap, &a);
}

static void tear_down(void)
{
    pcap_free(pcap);
    port_free(&a);
    port_free(&b);
    loop_free(loop);
    unlink(path);
    rmdir(folder);
}

static void say(struct port *from, uint8_t byte, size_t len)
{
    static uint8_t frame[PORT_FRAME_MAX];
    static const struct port_meta none;
    memset(frame, byte, len);
    struct iovec iov[2] = {
        {frame,     9      },
        {frame + 9, len - 9}
    };
    CHECK(port_send(from, iov, 2, &none) == PORT_SENT);
}

static size_t contents(uint8_t *buf, size_t size)
{
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0);
    ssize_t n = read(fd, buf, size);
    CHECK(n >= 0);
    close(fd);
    return (size_t)n;
}

static uint32_t word(const uint8_t *p)
{
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

/* Readable at any time, without a close: a crash loses nothing. */
TEST(pcap_both_directions_are_in_the_file_at_once)
{
    set_up(false);
    uint8_t buf[4096];
    CHECK_EQ(contents(buf, sizeof buf), 24);
    CHECK_EQ(word(buf), 0xa1b23c4d);
    CHECK_EQ(word(buf + 4), 2 | 4 << 16);
    CHECK_EQ(word(buf + 20), 1);
    say(&a, 0x11, 60);
    say(&b, 0x22, 100);
    CHECK_EQ(contents(buf, sizeof buf), 24 + 16 + 60 + 16 + 100);
    CHECK_EQ(word(buf + 24 + 8), 60);
    CHECK_EQ(word(buf + 24 + 12), 60);
    CHECK(word(buf + 24 + 4) < 1000000000);
    CHECK_EQ(buf[24 + 16], 0x11);
    CHECK_EQ(buf[24 + 16 + 60 + 16 + 99], 0x22);
    tear_down();
}

/* A checksum that was left to the receiver is there in the capture, and a segmentation done. */
TEST(pcap_shows_frames_as_on_a_wire)
{
    set_up(false);
    static uint8_t frame[14 + 20 + 20 + 3000] = {[12] = 8, [14] = 0x45, [22] = 64, [23] = 6, [46] = 0x50};
    frame[16] = (sizeof frame - 14) >> 8;
    frame[17] = (sizeof frame - 14) & 0xff;
    struct iovec iov = {frame, sizeof frame};
    struct port_meta meta = {.flags = PORT_NEEDS_CSUM,
                             .gso_type = PORT_GSO_TCPV4,
                             .gso_size = 1000,
                             .hdr_len = 54,
                             .csum_start = 34,
                             .csum_offset = 16};
    CHECK(port_send(&a, &iov, 1, &meta) == PORT_SENT);
    static uint8_t buf[8192];
    CHECK_EQ(contents(buf, sizeof buf), 24 + 3 * (16 + 54 + 1000));
    CHECK_EQ(word(buf + 24 + 8), 1054);
    CHECK(buf[24 + 16 + 50] | buf[24 + 16 + 51]); /* a TCP checksum */
    tear_down();
}

/* No viewer: frames are missed. One comes: it gets a header and what follows. It goes: nobody minds. Another comes. */
TEST(pcap_fifo_with_viewers_that_come_and_go)
{
    set_up(true);
    uint8_t buf[4096];
    say(&a, 1, 60);
    for (unsigned i = 0; i < 2; i++) {
        int viewer = open(path, O_RDONLY | O_NONBLOCK);
        CHECK(viewer >= 0);
        say(&a, 2, 60); /* not looked for again so soon */
        now += PCAP_LOOK_AGAIN;
        say(&a, 3, 60);
        CHECK_EQ(read(viewer, buf, sizeof buf), 24 + 16 + 60);
        CHECK_EQ(word(buf), 0xa1b23c4d);
        CHECK_EQ(buf[40], 3);
        close(viewer);
        say(&a, 4, 60);
    }
    char text[256] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    pcap_print(pcap, f);
    fclose(f);
    CHECK(strstr(text, "2 frames, 5 missed, nobody reads"));
    tear_down();
}

/* A viewer that does not read: whole records up to what the pipe takes, one that is finished later, the others missed. */
TEST(pcap_fifo_that_is_full_blocks_nobody)
{
    set_up(true);
    static uint8_t buf[4 << 20];
    int viewer = open(path, O_RDONLY | O_NONBLOCK);
    now += PCAP_LOOK_AGAIN;
    for (unsigned i = 0; i < 100; i++)
        say(&a, (uint8_t)i, 50000);
    size_t n = 0;
    for (;;) {
        ssize_t got = read(viewer, buf + n, sizeof buf - n);
        if (got > 0)
            n += (size_t)got;
        else if (!loop_step(loop))
            break;
    }
    CHECK(n > 24 + 16 + 50000 && (n - 24) % (16 + 50000) == 0);
    for (size_t i = 0; i < (n - 24) / 50016; i++)
        CHECK(word(buf + 24 + i * 50016 + 8) == 50000 && buf[24 + i * 50016 + 16] == i);
    say(&a, 0xaa, 60); /* goes on */
    CHECK_EQ(read(viewer, buf, sizeof buf), 76);
    close(viewer);
    tear_down();
}

/* A disk that is full, here a limit on the file's size: whole records stay, one warning, no end. */
TEST(pcap_full_disk_ends_the_capture_alone)
{
    set_up(false);
    struct rlimit was, limit;
    uint8_t buf[4096];
    getrlimit(RLIMIT_FSIZE, &was);
    limit = was;
    limit.rlim_cur = 24 + 16 + 60 + 30;
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    for (unsigned i = 0; i < 5; i++)
        say(&a, 1, 60);
    CHECK(!setrlimit(RLIMIT_FSIZE, &was));
    CHECK_EQ(contents(buf, sizeof buf), 24 + 16 + 60);
    say(&a, 1, 60);
    CHECK_EQ(contents(buf, sizeof buf), 24 + 16 + 60);
    tear_down();
}

/* A disk that stalls: here a writev() that takes long by the clock, and then a write() that does not come back. */
static uint64_t stall;
static pthread_t loop_thread;
static int gate[2] = {-1, -1}; /* write() waits for a byte of it */

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    now += stall;
    return syscall(SYS_writev, fd, iov, n);
}
ssize_t write(int fd, const void *data, size_t n)
{
    char c;
    if (gate[0] >= 0 && n > 16 && !pthread_equal(pthread_self(), loop_thread))
        while (read(gate[0], &c, 1) < 0 && errno == EINTR)
            ;
    return syscall(SYS_write, fd, data, n);
}

TEST(pcap_disk_that_stalls_blocks_nobody)
{
    static uint8_t buf[8 << 20];
    set_up(false);
    loop_thread = pthread_self();
    say(&a, 1, 60);
    CHECK_EQ(pipe2(gate, O_CLOEXEC), 0);
    stall = PCAP_STALL;
    say(&a, 2, 60);
    stall = 0;
    for (unsigned i = 0; i < 200; i++) /* more than is kept: and each comes back */
        say(&a, (uint8_t)(3 + i), 50000);
    char text[256] = "";
    FILE *f = fmemopen(text, sizeof text, "w");
    pcap_print(pcap, f);
    fclose(f);
    unsigned kept = PCAP_BEHIND / 50016, frames, missed;
    CHECK(strstr(text, "written by a thread") &&
          sscanf(strstr(text, ": "), ": %u frames, %u missed", &frames, &missed) == 2);
    CHECK_EQ(frames, 2 + kept);
    CHECK_EQ(frames + missed, 202);
    close(gate[1]); /* the disk is back */
    pcap_free(pcap);
    pcap = NULL;
    CHECK_EQ(contents(buf, sizeof buf), 24 + 2 * 76 + kept * 50016);
    for (unsigned i = 0; i < kept; i++)
        CHECK(word(buf + 24 + 152 + i * 50016 + 8) == 50000 && buf[24 + 152 + i * 50016 + 16] == 3 + i);
    close(gate[0]);
    gate[0] = -1;
    tear_down();
}

/* The same writer on a disk that gets full. */
TEST(pcap_full_disk_behind_a_stall_leaves_whole_records)
{
    static uint8_t buf[4096];
    struct rlimit was, limit;
    set_up(false);
    loop_thread = pthread_self();
    stall = PCAP_STALL;
    say(&a, 1, 60);
    stall = 0;
    getrlimit(RLIMIT_FSIZE, &was);
    limit = was;
    limit.rlim_cur = 24 + 3 * 76 + 30;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(!setrlimit(RLIMIT_FSIZE, &limit));
    for (unsigned i = 0; i < 5; i++)
        say(&a, 2, 60);
    char text[256] = "";
    do { /* until the writer's word is here */
        loop_step(loop);
        FILE *f = fmemopen(text, sizeof text, "w");
        pcap_print(pcap, f);
        fclose(f);
        sched_yield();
    } while (!strstr(text, ", over"));
    CHECK(!setrlimit(RLIMIT_FSIZE, &was));
    CHECK_EQ(contents(buf, sizeof buf), 24 + 3 * 76);
    tear_down();
}

TEST(pcap_files_that_cannot_be)
{
    loop = loop_new(NULL);
    static const char *const bad[] = {"/nonexistent/x", "/tmp", "/dev/full"};
    for (size_t i = 0; i < 3; i++) {
        CHECK(!pcap_new(loop, "net0", bad[i], err, sizeof err));
        CHECK(!strncmp(err, "net0: pcap /", 12));
    }
    loop_free(loop);
}
