// SPDX-License-Identifier: MIT
/* The in-guest init's DHCP client: its messages as bytes, hostile answers among them; and the very init that boots, in network, file
 * system and host name spaces of its own, on a tap whose other end is the test. */
#include "test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/command_file.h"
#include "guest/init/dhcp.c"

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 9};

enum {
    PATIENCE = 20000, /* ms, for what is sure to come */
};

/* ---- as bytes */

static size_t answer(uint8_t *out, const uint8_t *asked, uint8_t type, const uint8_t *options, size_t n)
{
    memset(out, 0, 240);
    out[0] = 2, out[1] = 1, out[2] = 6;
    memcpy(out + 4, asked + 4, 4);
    memcpy(out + 16, "\x0a\x00\x02\x0f", 4);
    memcpy(out + 28, asked + 28, 6);
    memcpy(out + 236, "\x63\x82\x53\x63\x35\x01", 6);
    out[242] = type;
    memcpy(out + 243, options, n);
    return 243 + n;
}

#define SERVER "\x36\x04\x0a\x00\x02\x02"
#define ALL                                                                                                  \
    SERVER                                                                                                   \
    "\x01\x04\xff\xff\xff\x00\x03\x04\x0a\x00\x02\x02\x06\x08\x0a\x00\x02\x03\x01\x02\x03\x04\x0f\x0b"       \
    "example.org\x0c\x03web\x1a\x02\x05\x78\x33\x04\x00\x01\x51\x80\xff"

static struct dhcp_lease lease;
static uint8_t asked[DHCP_SEND_MAX], heard[2048];
static uint8_t latest; /* type */

static bool hear(const char *options, size_t n, uint8_t type)
{
    dhcp_make(asked, 77, mac, NULL, false);
    size_t len = answer(heard, asked, type, (const uint8_t *)options, n);
    return dhcp_read(heard, len, 77, mac, &lease);
}

TEST(dhcp_reads_an_offer)
{
    CHECK(hear(ALL, sizeof ALL - 1, DHCP_OFFER));
    CHECK_EQ(lease.address, inet_addr("10.0.2.15"));
    CHECK_EQ(lease.mask, inet_addr("255.255.255.0"));
    CHECK_EQ(lease.router, inet_addr("10.0.2.2"));
    CHECK_EQ(lease.n_dns, 2);
    CHECK_EQ(lease.dns[1], inet_addr("1.2.3.4"));
    CHECK_EQ(lease.mtu, 1400);
    CHECK_EQ(lease.seconds, 86400);
    CHECK_STR(lease.domain, "example.org");
    CHECK_STR(lease.host, "web");
}

TEST(dhcp_asks)
{
    CHECK_EQ(dhcp_make(asked, 77, mac, NULL, false), 300);
    CHECK(!memcmp(asked, "\1\1\6\0", 4) && asked[10] == 0x80 && !memcmp(asked + 28, mac, 6));
    CHECK(!memcmp(asked + 236, "\x63\x82\x53\x63\x35\x01\x01", 7));
    CHECK(hear(ALL, sizeof ALL - 1, DHCP_OFFER));
    dhcp_make(asked, 77, mac, &lease, false);
    CHECK_EQ(asked[242], DHCP_REQUEST);
    CHECK(memmem(asked, 300, "\x32\x04\x0a\x00\x02\x0f", 6) && memmem(asked, 300, SERVER, 6));
    dhcp_make(asked, 77, mac, &lease, true); /* renewing: the address is in its own field */
    CHECK(!memmem(asked, 300, "\x32\x04\x0a\x00\x02\x0f", 6) && !memmem(asked, 300, SERVER, 6));
    CHECK(!memcmp(asked + 12, "\x0a\x00\x02\x0f", 4) && !asked[10]);
}

TEST(dhcp_ignores_what_is_not_for_it)
{
    CHECK(hear(ALL, sizeof ALL - 1, DHCP_OFFER));
    size_t n = 243 + sizeof ALL - 1;
    static const struct {
        size_t at;
        uint8_t value;
    } wrong[] = {
        {0,   1  },
        {1,   6  },
        {2,   16 },
        {4,   1  },
        {33,  1  },
        {236, 0  },
        {242, 2  },
        {242, 77 },
        {16,  0  },
        {16,  127},
        {16,  224},
        {16,  255}
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t was = heard[wrong[i].at];
        heard[wrong[i].at] = wrong[i].value;
        if (wrong[i].value != was)
            CHECK(!dhcp_read(heard, n, 77, mac, &lease));
        heard[wrong[i].at] = was;
    }
    CHECK(dhcp_read(heard, n, 77, mac, &lease));
    CHECK(!hear("\xff", 1, DHCP_OFFER)); /* by nobody */
}

/* Cut anywhere, and with every length in the options grown: nothing is read beyond the end (address sanitizer), nothing is
 * taken that does not fit. */
TEST(dhcp_options_that_run_past_the_end)
{
    CHECK(hear(ALL, sizeof ALL - 1, DHCP_OFFER));
    size_t n = 243 + sizeof ALL - 1;
    for (size_t len = 0; len <= n; len++) {
        uint8_t *copy = malloc(len ? len : 1);
        memcpy(copy, heard, len);
        bool taken = dhcp_read(copy, len, 77, mac, &lease);
        CHECK(!taken || len >= 249);
        free(copy);
    }
    uint64_t seed = 5;
    for (unsigned i = 0; i < 100000; i++) {
        size_t len = 244 + test_rand(&seed) % 100;
        uint8_t *copy = malloc(len);
        memcpy(copy, heard, len < n ? len : n);
        if (len > n)
            memset(copy + n, (int)test_rand(&seed), len - n);
        for (unsigned k = 0; k < 4; k++)
            copy[240 + test_rand(&seed) % (len > 241 ? len - 240 : 1) - (len <= 240)] =
                (uint8_t)test_rand(&seed);
        if (dhcp_read(copy, len, 77, mac, &lease))
            CHECK(lease.n_dns <= DHCP_DNS_MAX && strlen(lease.domain) < DHCP_NAME_MAX);
        free(copy);
    }
}

/* They go into /etc/resolv.conf and to sethostname(). */
TEST(dhcp_names_are_names_or_nothing)
{
    CHECK(hear(SERVER "\x0f\x05"
                      "a\nb c\x0c\x04web\0\xff",
               sizeof SERVER - 1 + 14, DHCP_OFFER));
    CHECK_STR(lease.domain, "");
    CHECK_STR(lease.host, "web");
    CHECK(hear(SERVER "\x0c\x02-x\xff", sizeof SERVER - 1 + 5, DHCP_OFFER));
    CHECK_STR(lease.host, "");
    CHECK_EQ(lease.mask, inet_addr("255.0.0.0")); /* of the address's class */
    CHECK_EQ(lease.router, 0);
}

/* ---- the init itself */

static int tap = -1;
static char program[64];
static struct timespec started;

static void spaces(void)
{
    if (access("/dev/net/tun", R_OK | W_OK))
        SKIP("no /dev/net/tun that we may open");
    if (unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS))
        SKIP("no namespaces of our own (not root)");
    CHECK(!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    CHECK(!mount("tmpfs", "/etc", "tmpfs", 0, NULL));
    CHECK(!symlink("../proc/net/pnp", "/etc/resolv.conf"));
    CHECK(!sethostname("vmlet", 5));
    int fd = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY);
    if (fd >= 0) {
        CHECK(write(fd, "1", 1) == 1);
        close(fd);
    }
    if (tap >= 0)
        close(tap);
    struct ifreq r = {.ifr_name = "eth0", .ifr_flags = IFF_TAP | IFF_NO_PI};
    tap = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    CHECK(tap >= 0 && !ioctl(tap, TUNSETIFF, &r));
}

static pid_t start(void)
{
    int fd = memfd_create("init", 0);
    CHECK(fd >= 0 && write(fd, init_blob, (size_t)(init_blob_end - init_blob)) == init_blob_end - init_blob);
    snprintf(program, sizeof program, "/proc/self/fd/%d", fd);
    clock_gettime(CLOCK_MONOTONIC, &started);
    latest = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (!pid) {
        execl(program, "init", "--test-net", NULL);
        _exit(99);
    }
    close(fd);
    return pid;
}

static uint64_t ended(pid_t pid)
{
    struct timespec now;
    int status;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)(now.tv_sec - started.tv_sec) * 1000 + (uint64_t)now.tv_nsec / 1000000 -
           (uint64_t)started.tv_nsec / 1000000;
}

/* The next DHCP message of the guest's, its type; 0: none within ms. It comes from nobody's address. */
static uint8_t next(int ms)
{
    uint8_t frame[2048];
    struct pollfd p = {.fd = tap, .events = POLLIN};
    while (poll(&p, 1, ms) > 0) {
        ssize_t n = read(tap, frame, sizeof frame);
        if (n >= 42 + 243 && frame[12] == 8 && !frame[13] && frame[23] == 17 && frame[37] == 67) {
            memcpy(asked, frame + 42, 300);
            if (asked[10]) /* not a renewal */
                CHECK(!memcmp(frame + 26, "\0\0\0\0", 4));
            return asked[242];
        }
    }
    return 0;
}

/* The next one is of that type, but for repetitions of the one before: who has no processor for a third of a second is asked
 * again. */
static bool comes(uint8_t type)
{
    uint8_t got;
    do
        got = next(PATIENCE);
    while (got && got != type && got == latest);
    latest = got;
    return got == type;
}

static uint16_t ip_sum(const uint8_t *p)
{
    uint32_t sum = 0;
    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)(p[i] << 8 | p[i + 1]);
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t) ~(sum + (sum >> 16));
}

static void say(uint8_t type, const char *options, size_t n)
{
    static uint8_t frame[2048];
    size_t len = answer(frame + 42, asked, type, (const uint8_t *)options, n);
    memset(frame, 0, 42);
    memset(frame, 0xff, 6);
    memcpy(frame + 6, "\2\0\0\0\0\1\x08\0\x45", 9);
    frame[16] = (uint8_t)((len + 28) >> 8), frame[17] = (uint8_t)(len + 28);
    frame[22] = 64, frame[23] = 17;
    memcpy(frame + 26, "\x0a\0\2\2\xff\xff\xff\xff", 8);
    uint16_t sum = ip_sum(frame + 14);
    frame[24] = (uint8_t)(sum >> 8), frame[25] = (uint8_t)sum;
    frame[35] = 67, frame[37] = 68;
    frame[38] = (uint8_t)((len + 8) >> 8), frame[39] = (uint8_t)(len + 8);
    CHECK(write(tap, frame, 42 + len) == (ssize_t)(42 + len));
}

static bool says(const char *command, const char *wanted)
{
    char text[4096] = "";
    FILE *f = popen(command, "r");
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    pclose(f);
    if (!strstr(text, wanted))
        printf("%s: no '%s' in:\n%s", command, wanted, text);
    return strstr(text, wanted);
}

#define FOREVER                                                                                              \
    SERVER "\x01\x04\xff\xff\xff\x00\x03\x04\x0a\x00\x02\x02\x06\x04\x0a\x00\x02\x03\x0f\x07"                \
           "example\x0c\x03web\x1a\x02\x05\x78\xff"

TEST(init_gets_an_address)
{
    spaces();
    pid_t pid = start();
    CHECK(comes(DHCP_DISCOVER));
    say(DHCP_OFFER, FOREVER, sizeof FOREVER - 1);
    CHECK(comes(DHCP_REQUEST));
    say(DHCP_ACK, FOREVER, sizeof FOREVER - 1);
    uint64_t ms = ended(pid);
    CHECK(ms < 3950); /* the others are waited for, up to 4 s, and there are none */
    CHECK(says("ip addr show eth0", "10.0.2.15/24"));
    CHECK(says("ip addr show eth0", "mtu 1400"));
    CHECK(says("ip route", "default via 10.0.2.2 dev eth0"));
    CHECK(says("cat /etc/resolv.conf", "search example\nnameserver 10.0.2.3\n"));
    CHECK(says("uname -n", "web"));
}

/* Its server offers at once, and acknowledges only when the first card has long been done: a slow host does that. */
TEST(init_waits_for_a_second_card_that_was_offered_an_address)
{
    spaces();
    int first = tap, second = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    struct ifreq r = {.ifr_name = "eth1", .ifr_flags = IFF_TAP | IFF_NO_PI};
    CHECK(second >= 0 && !ioctl(second, TUNSETIFF, &r));
    pid_t pid = start();
    CHECK(comes(DHCP_DISCOVER));
    say(DHCP_OFFER, FOREVER, sizeof FOREVER - 1);
    CHECK(comes(DHCP_REQUEST));
    say(DHCP_ACK, FOREVER, sizeof FOREVER - 1);
    tap = second;
    CHECK(comes(DHCP_DISCOVER));
    say(DHCP_OFFER, FOREVER, sizeof FOREVER - 1);
    for (int i = 0; i < 3; i++)
        CHECK(comes(DHCP_REQUEST));
    next(300);
    say(DHCP_ACK, FOREVER, sizeof FOREVER - 1);
    ended(pid);
    tap = first;
    CHECK(says("ip addr show eth0", "10.0.2.15/24"));
    CHECK(says("ip addr show eth1", "10.0.2.15/24"));
    close(second);
}

/* Lost messages, a NAK, answers to somebody else's question: it asks again. */
TEST(init_asks_again)
{
    spaces();
    pid_t pid = start();
    CHECK(comes(DHCP_DISCOVER));
    CHECK(comes(DHCP_DISCOVER));
    asked[4] ^= 1;
    say(DHCP_OFFER, FOREVER, sizeof FOREVER - 1);
    CHECK(comes(DHCP_DISCOVER));
    say(DHCP_OFFER, FOREVER, sizeof FOREVER - 1);
    CHECK(comes(DHCP_REQUEST));
    say(DHCP_NAK, "\xff", 1);
    CHECK(comes(DHCP_DISCOVER));
    say(DHCP_OFFER, FOREVER, sizeof FOREVER - 1);
    CHECK(comes(DHCP_REQUEST));
    CHECK(comes(DHCP_REQUEST));
    say(DHCP_ACK, FOREVER, sizeof FOREVER - 1);
    ended(pid);
    CHECK(says("ip addr show eth0", "10.0.2.15/24"));
}

/* A router outside of the network (a /32 of some clouds). */
TEST(init_reaches_a_router_outside_the_network)
{
    static const char options[] = SERVER "\x01\x04\xff\xff\xff\xff\x03\x04\xc0\xa8\x00\x01\xff";
    spaces();
    pid_t pid = start();
    CHECK(comes(DHCP_DISCOVER));
    say(DHCP_OFFER, options, sizeof options - 1);
    CHECK(comes(DHCP_REQUEST));
    say(DHCP_ACK, options, sizeof options - 1);
    ended(pid);
    CHECK(says("ip route", "default via 192.168.0.1 dev eth0"));
    CHECK(says("readlink /etc/resolv.conf", "pnp")); /* no servers were told */
}

/* Nobody answers: the command starts all the same, after four seconds. */
TEST(init_does_not_wait_for_ever)
{
    spaces();
    pid_t pid = start();
    CHECK(comes(DHCP_DISCOVER));
    uint64_t ms = ended(pid);
    CHECK(ms >= 3500 && ms < 60000);
}

/* No cable: a card that is up, with its carrier off, is not waited for as long. */
TEST(init_does_not_wait_long_for_a_cable)
{
    spaces();
    int off = 0;
    if (ioctl(tap, TUNSETCARRIER, &off))
        SKIP("this kernel's taps have no carrier to take away");
    uint64_t ms = UINT64_MAX;
    for (unsigned tries = 0; ms >= 3950 && tries < 4;
         tries++) { /* for a card with a cable: 4 s, however fast the machine */
        ms = ended(start());
        CHECK(ms >= 2000);
    }
    CHECK(ms < 3950);
}

/* A lease of four seconds is asked for again after two, by a process that is left behind. */
TEST(init_renews)
{
    static const char options[] = SERVER "\x33\x04\0\0\0\4\xff";
    spaces();
    CHECK(!prctl(PR_SET_CHILD_SUBREAPER, 1));
    pid_t pid = start();
    CHECK(comes(DHCP_DISCOVER));
    say(DHCP_OFFER, options, sizeof options - 1);
    CHECK(comes(DHCP_REQUEST));
    say(DHCP_ACK, options, sizeof options - 1);
    ended(pid);
    for (unsigned i = 0; i < 2; i++) {
        do /* the first request, said again before it was answered, has no address yet */
            CHECK(comes(DHCP_REQUEST));
        while (!memcmp(asked + 12, "\0\0\0\0", 4));
        CHECK(!memcmp(asked + 12, "\x0a\x00\x02\x0f", 4));
        say(DHCP_ACK, options, sizeof options - 1);
    }
    char kids[64], command[128];
    snprintf(command, sizeof command, "/proc/%d/task/%d/children", (int)getpid(), (int)getpid());
    FILE *f = fopen(command, "r");
    CHECK(f && fgets(kids, sizeof kids, f));
    fclose(f);
    pid_t keeper = (pid_t)strtol(kids, NULL, 10);
    CHECK(keeper > 1 && !kill(keeper, SIGKILL) && waitpid(keeper, NULL, 0) == keeper);
}
