// SPDX-License-Identifier: MIT
/* The user network's TFTP server; row U9. */
#include "user_net.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64], outside[80];

static struct bed *tftp_bed(size_t size)
{
    char name[100];
    snprintf(folder, sizeof folder, "/tmp/vmlet-test-tftp-%d", (int)getpid());
    snprintf(outside, sizeof outside, "%s.secret", folder);
    CHECK(mkdir(folder, 0700) == 0);
    snprintf(name, sizeof name, "%s/file", folder);
    FILE *f = fopen(name, "w");
    for (size_t i = 0; i < size; i++)
        fputc((int)(i * 7 + (i >> 9)) & 255, f);
    fclose(f);
    f = fopen(outside, "w");
    fputs("secret", f);
    fclose(f);
    struct user_options o = {.tftp = folder};
    return bed_new(&o);
}

static void tftp_bed_free(struct bed *b)
{
    char command[200];
    bed_free(b);
    snprintf(command, sizeof command, "rm -rf %s %s", folder, outside);
    CHECK_EQ(system(command), 0);
}

static size_t make_request(uint8_t *m, uint16_t op, const char *name, const char *options, size_t options_len)
{
    set16(m, op);
    strcpy((char *)m + 2, name);
    size_t len = 2 + strlen(name) + 1;
    memcpy(m + len, "octet", 6);
    len += 6;
    memcpy(m + len, options, options_len);
    return len + options_len;
}

/* The opcode of the answer, 0: none. Where the time of a disk may pass, it does. */
static uint16_t say(struct bed *b, uint16_t port, const void *m, size_t len)
{
    b->got = 0;
    send_udp4(b, 3000, HOST, port, m, len);
    for (int i = 0; i < 100 && !b->got && loop_next(b->loop) < b->now + 100000000; i++)
        bed_wait(b, 10000000);
    return b->got ? get16(last_l4(b) + 8) : 0;
}

static uint16_t rrq(struct bed *b, const char *name, const char *options, size_t options_len)
{
    uint8_t m[500];
    return say(b, 69, m, make_request(m, 1, name, options, options_len));
}

TEST(tftp_serves_a_file_block_by_block)
{
    for (size_t size = 1000; size <= 1024; size += 12) { /* the second ends with a full block */
        struct bed *b = tftp_bed(size);
        uint16_t op = rrq(b, "/file", "", 0), port, block = 1;
        size_t seen = 0;
        for (;;) {
            uint8_t *l4 = last_l4(b);
            size_t n = last_l4_len(b) - 12;
            port = get16(l4);
            CHECK(op == 3 && get16(l4 + 10) == block && n <= 512);
            for (size_t i = 0; i < n; i++, seen++)
                CHECK_EQ(l4[12 + i], (seen * 7 + (seen >> 9)) & 255);
            uint8_t ack[4] = {0, 4, (uint8_t)(block >> 8), (uint8_t)block};
            op = say(b, port, ack, 4);
            block++;
            if (n < 512)
                break;
        }
        CHECK_EQ(op, 0);
        CHECK_EQ(seen, size);
        bed_wait(b, 20000000000);
        CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
        tftp_bed_free(b);
    }
}

TEST(tftp_options_size_and_block_size)
{
    struct bed *b = tftp_bed(3000);
    static const char options[] = "tsize\0000\0BLKSIZE\0009000\0timeout\0003\0windowsize\0008";
    CHECK_EQ(rrq(b, "file", options, sizeof options), 6);
    CHECK(!memcmp(last_l4(b) + 10, "tsize\0003000\0blksize\0001468", 24));
    uint16_t port = get16(last_l4(b));
    CHECK_EQ(say(b, port, (uint8_t[]){0, 4, 0, 0}, 4), 3);
    CHECK_EQ(last_l4_len(b), 8 + 4 + 1468);
    CHECK_EQ(b->frames[b->got - 1].len, 1514);
    CHECK_EQ(say(b, port, (uint8_t[]){0, 4, 0, 0}, 4), 0); /* an old ACK: not sent again */
    b->got = 0;
    bed_wait(b, 1100000000);
    CHECK_EQ(b->got, 1); /* but after a second */
    CHECK_EQ(say(b, port, (uint8_t[]){0, 5, 0, 0}, 4), 0);
    bed_wait(b, 3000000000);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    tftp_bed_free(b);
}

TEST(tftp_gives_up_on_a_guest_that_is_silent)
{
    struct bed *b = tftp_bed(3000);
    CHECK_EQ(rrq(b, "file", "", 0), 3);
    b->got = 0;
    bed_wait(b, 60000000000);
    CHECK_EQ(b->got, 5);
    CHECK_EQ(loop_next(b->loop), LOOP_NEVER);
    tftp_bed_free(b);
}

TEST(U9_tftp_names_that_lead_out)
{
    struct bed *b = tftp_bed(10);
    char name[200], target[200];
    const char *base = strrchr(outside, '/') + 1;
    snprintf(name, sizeof name, "%s/link", folder);
    CHECK_EQ(symlink(outside, name), 0);
    snprintf(name, sizeof name, "%s/inside", folder);
    CHECK_EQ(symlink("file", name), 0);
    snprintf(name, sizeof name, "%s/up", folder);
    CHECK_EQ(symlink("..", name), 0);
    snprintf(name, sizeof name, "%s/fifo", folder);
    CHECK_EQ(mkfifo(name, 0600), 0);
    static const char *const forms[] = {"../%s", "/../%s",     "x/../../%s", "./../%s",
                                        "up/%s", "////..//%s", "..%%2f%s"};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        snprintf(target, sizeof target, forms[i], base);
        CHECK_EQ(rrq(b, target, "", 0), 5);
    }
    CHECK_EQ(rrq(b, outside, "", 0), 5);
    CHECK_EQ(rrq(b, "link", "", 0), 5);
    CHECK_EQ(rrq(b, "", "", 0), 5);
    CHECK_EQ(rrq(b, ".", "", 0), 5);
    CHECK_EQ(rrq(b, "..", "", 0), 5);
    CHECK_EQ(rrq(b, "fifo", "", 0), 5); /* and nobody waits for its other end */
    CHECK_EQ(rrq(b, "/proc/self/environ", "", 0), 5);
    CHECK_EQ(rrq(b, "nothing", "", 0), 5);
    CHECK_EQ(get16(last_l4(b) + 10), 1);
    CHECK_EQ(rrq(b, "inside", "", 0), 3); /* a link within the folder is fine */
    tftp_bed_free(b);
}

TEST(U9_tftp_requests_that_are_none)
{
    struct bed *b = tftp_bed(10);
    uint8_t m[2000];
    size_t len = make_request(m, 1, "file", "", 0);
    unsigned n = 0;
    for (size_t cut = 0; cut < len; cut++, n++)
        CHECK_EQ(say(b, 69, m, cut), 0); /* names without NUL */
    memset(m + 2, 'a', sizeof m - 2);
    CHECK_EQ(say(b, 69, m, 512), 0);
    CHECK_EQ(say(b, 69, m, 1400), 0);
    for (uint16_t op = 0; op < 10; op++) {
        len = make_request(m, op, "file", "", 0);
        if (op == 1 || op == 2)
            continue;
        CHECK_EQ(say(b, 69, m, len), 0);
        n++;
    }
    CHECK_EQ(b->user->drops[USER_DROP_TFTP], n + 2);
    len = make_request(m, 2, "new", "", 0);
    CHECK_EQ(say(b, 69, m, len), 5);                 /* writing */
    CHECK_EQ(rrq(b, "file", "blksize", 8), 3);       /* an option without a value */
    CHECK_EQ(rrq(b, "file", "blksize\0000", 10), 3); /* 0 */
    CHECK_EQ(rrq(b, "file", "blksize\0-1\0tsize\0x", 19), 3);
    CHECK_EQ(rrq(b, "file", "blksize\00099999999999999999999", 29), 6);
    char endless[400];
    for (size_t i = 0; i < sizeof endless; i += 4)
        memcpy(endless + i, "a\0001", 4);
    CHECK_EQ(rrq(b, "file", endless, sizeof endless), 3);
    for (size_t i = 0; i + 8 <= sizeof endless; i += 8)
        memcpy(endless + i, "tsize\0000", 8);
    CHECK_EQ(rrq(b, "file", endless, sizeof endless), 6);
    CHECK(last_l4_len(b) < 40);
    tftp_bed_free(b);
}

TEST(U9_tftp_a_thousand_transfers_are_sixteen)
{
    struct bed *b = tftp_bed(3000);
    uint8_t m[100];
    int first = dup(0);
    close(first);
    size_t len = make_request(m, 1, "file", "", 0);
    for (unsigned i = 0; i < 1000; i++)
        send_udp4(b, (uint16_t)(3000 + i), HOST, 69, m, len);
    int next = dup(0);
    close(next);
    CHECK(next <= first + 16);
    tftp_bed_free(b);
}

TEST(U9_without_a_folder_tftp_is_silent)
{
    struct user_options o = {.no_loopback = true};
    struct bed *b = bed_new(&o);
    uint8_t m[100];
    send_udp4(b, 3000, HOST, 69, m, make_request(m, 1, "file", "", 0));
    CHECK(last_is_error(b, 3, 13)); /* as any port there */
    bed_free(b);
}
