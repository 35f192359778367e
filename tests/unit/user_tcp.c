// SPDX-License-Identifier: MIT
/* TCP within the user network: that the two are plugged together rightly. TCP itself has tests of its own. */
#include "user_net.h"

#include <unistd.h>

enum {
    FIN = 1,
    SYN = 2,
    RST = 4,
    ACK = 16
};

static void send_tcp(struct bed *b, const uint8_t *dst, uint16_t sport, uint16_t dport, uint32_t seq,
                     uint32_t ack, uint8_t flags, const char *data)
{
    uint8_t l4[100] = {0};
    set16(l4, sport);
    set16(l4 + 2, dport);
    set32(l4 + 4, seq);
    set32(l4 + 8, ack);
    l4[12] = 5 << 4;
    l4[13] = flags;
    set16(l4 + 14, 60000);
    memcpy(l4 + 20, data, strlen(data));
    send4(b, IP_TCP, GUEST, dst, l4, 20 + strlen(data));
}

static int listener(uint16_t *port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    CHECK(bind(fd, (struct sockaddr *)&in, sizeof in) == 0 && listen(fd, 5) == 0 &&
          getsockname(fd, (struct sockaddr *)&in, &len) == 0);
    *port = ntohs(in.sin_port);
    return fd;
}

TEST(tcp_by_the_gateway_to_the_hosts_loopback)
{
    struct bed *b = bed_new(NULL);
    uint16_t port;
    char got[20] = "";
    int lfd = listener(&port);
    send_tcp(b, HOST, 4000, port, 1000, 0, SYN, "");
    CHECK(b->got > 0);
    uint8_t *l4 = last_l4(b);
    CHECK(l4[13] == (SYN | ACK) && get16(l4) == port && get16(l4 + 2) == 4000 && get32(l4 + 8) == 1001);
    CHECK(b->frames[b->got - 1].meta.flags == 0); /* this card takes finished frames only */
    struct ip_addr src = ip_addr4(HOST), dst = ip_addr4(GUEST);
    CHECK_EQ(ip_sum_add(sum_of(l4, last_l4_len(b)), ip_pseudo_sum(&src, &dst, IP_TCP, last_l4_len(b))),
             0xffff);
    uint32_t theirs = get32(l4 + 4) + 1;
    int fd = accept(lfd, NULL, NULL);
    CHECK(fd >= 0);
    send_tcp(b, HOST, 4000, port, 1001, theirs, ACK, "hello");
    CHECK_EQ(recv(fd, got, sizeof got, 0), 5);
    CHECK_STR(got, "hello");
    CHECK_EQ(write(fd, "world", 5), 5);
    bed_wait(b, 300000000);
    l4 = last_l4(b);
    CHECK(last_l4_len(b) >= 25 && !memcmp(l4 + (l4[12] >> 4) * 4, "world", 5));
    FILE *out = tmpfile();
    static char text[20000];
    user_print(b->user, out);
    rewind(out);
    text[fread(text, 1, sizeof text - 1, out)] = 0;
    fclose(out);
    CHECK(strstr(text, "10.0.2.15") && strstr(text, "policy") && strstr(text, "169.254.0.0/16"));
    close(fd);
    close(lfd);
    bed_free(b);
}

TEST(T7_tcp_to_what_policy_refuses_is_reset)
{
    static const uint8_t dst[][4] = {
        {169, 254, 169, 254},
        {127, 0,   0,   1  },
        {10,  0,   2,   77 },
        {0,   1,   2,   3  },
    };
    struct bed *b = bed_new(NULL);
    for (unsigned i = 0; i < sizeof dst / 4; i++) {
        b->got = 0;
        send_tcp(b, dst[i], (uint16_t)(4000 + i), 80, 1000, 0, SYN, "");
        bed_wait(b, 100000000);
        bool reset = false, told = false;
        for (unsigned k = 0; k < b->got; k++) {
            uint8_t *f = b->frames[k].frame;
            reset |= f[23] == IP_TCP && f[34 + 13] & RST;
            told |= f[23] == IP_ICMP && f[34] == 3;
        }
        CHECK(reset && told);
    }
    send_tcp(b, (const uint8_t[]){255, 255, 255, 255}, 4000, 80, 1000, 0, SYN, "");
    send_tcp(b, (const uint8_t[]){224, 0, 0, 1}, 4000, 80, 1000, 0, SYN, "");
    CHECK_EQ(b->user->drops[USER_DROP_MULTICAST], 2);
    bed_free(b);
}

TEST(tcp_forward_reaches_the_guest)
{
    struct bed *b = bed_new(NULL);
    char err[300], spec[60];
    uint16_t port;
    close(listener(&port));
    snprintf(spec, sizeof spec, "tcp:127.0.0.1:%u-:22", port);
    CHECK(user_forward_add(b->user, spec, err, sizeof err));
    struct sockaddr_in in = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect(fd, (struct sockaddr *)&in, sizeof in);
    bed_wait(b, 10000000);
    CHECK(b->got > 0 && get16(b->frames[0].frame + 12) == ETH_ARP); /* the guest said nothing yet */
    uint8_t arp[42];
    memcpy(arp, b->frames[0].frame, sizeof arp);
    memcpy(arp, b->user->mac, 6);
    memcpy(arp + 6, guest_mac, 6);
    arp[21] = 2;
    memcpy(arp + 22, guest_mac, 6);
    memcpy(arp + 28, GUEST, 4);
    memcpy(arp + 32, b->user->mac, 6);
    memcpy(arp + 38, HOST, 4);
    bed_send(b, arp, sizeof arp);
    uint8_t *l4 = last_l4(b); /* the SYN that waited */
    CHECK(last_frame(b)[23] == IP_TCP && get16(l4 + 2) == 22 && l4[13] == SYN);
    CHECK(!memcmp(last_frame(b) + 26, HOST, 4) && !memcmp(last_frame(b), guest_mac, 6));
    send_tcp(b, HOST, 22, get16(l4), 0, get32(l4 + 4) + 1, RST | ACK, "");
    char c;
    CHECK_EQ(recv(fd, &c, 1, 0), -1); /* refused by the guest: reset */
    close(fd);
    bed_free(b);
}
