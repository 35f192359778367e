// SPDX-License-Identifier: MIT
/* Bad input for TCP of the user-mode network: the rows T1 to T6 and U11 of our list of other monitors' mistakes, and RFC 5961's
 * attacks. (T7 and T8, policy and forward rules, are the IP side's.) */
#include "net_tcp.h"

#include <sys/socket.h>
#include <unistd.h>

static struct world w_;

static struct world *world(void)
{
    memset(&w_, 0, sizeof w_);
    return &w_;
}

/* The bytes of a message as they are. */
static void raw(struct world *w, const uint8_t *bytes, size_t len)
{
    struct iovec iov = {(void *)bytes, len};
    struct ip_packet p = {.src = w_addr(false, 15),
                          .dst = w_addr(false, 99),
                          .proto = IP_TCP,
                          .ttl = 64,
                          .csum_ok = true,
                          .iov = &iov,
                          .n = len ? 1 : 0,
                          .len = len};
    tcp_input(w->t, &p);
    w_run(w);
}

TEST(T1_data_offset_below_5_or_beyond_the_message)
{
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    for (unsigned offset = 0; offset < 16; offset++) {
        for (size_t len = 0; len <= 64; len++) {
            uint8_t *m = malloc(len + 1); /* exactly as long: a sanitizer sees what is read behind it */
            uint8_t h[64] = {G_PORT >> 8, G_PORT & 255,           0,    P_PORT, 0, 0, 0, 0, 0, 0, 0,
                             0,           (uint8_t)(offset << 4), F_ACK};
            uint32_t seq = l.seq + 1000000; /* out of the window: it must not matter */
            h[4] = (uint8_t)(seq >> 24), h[5] = (uint8_t)(seq >> 16), h[6] = (uint8_t)(seq >> 8),
            h[7] = (uint8_t)seq;
            memcpy(m, h, len);
            uint64_t before = tcp_counter(w->t, TCP_BAD_HEADER);
            raw(w, m, len);
            bool bad = len < 20 || offset < 5 || offset * 4 > len;
            CHECK_EQ(tcp_counter(w->t, TCP_BAD_HEADER) - before, bad);
            free(m);
        }
    }
    CHECK_EQ(tcp_connections(w->t), 1);
    CHECK_EQ(w->socks[l.fd].written, 0);
    w_close_all(w);
}

TEST(T1_options_of_length_0_and_1_and_past_the_end)
{
    static const struct {
        uint8_t o[8], n;
        uint32_t segment; /* what a segment may then have; 0: the default, 536 */
    } rows[] = {
        {{2, 0, 5, 0xb4},          4, 0   },
        {{2, 1, 5, 0xb4},          4, 0   },
        {{2, 255, 5, 0xb4},        4, 0   },
        {{2, 3, 5, 0xb4},          4, 0   },
        {{1, 1, 1, 2},             4, 0   }, /* the kind alone, at the very end */
        {{1, 1, 2, 4},             4, 0   },
        {{0, 2, 4, 5, 0xb4},       8, 0   }, /* behind the list's end */
        {{77, 0, 2, 4, 5, 0xb4},   8, 0   }, /* an unknown one that does not move on */
        {{77, 2, 2, 4, 2, 0},      8, 512 }, /* an unknown one that does */
        {{2, 4, 0, 0},             4, 64  }, /* MSS 0, 1, 65535 */
        {{2, 4, 0, 1},             4, 64  },
        {{2, 4, 255, 255},         4, 1460},
        {{2, 4, 5, 0, 2, 4, 2, 0}, 8, 512 }, /* twice: the last */
        {{5, 6, 5, 6, 5, 6, 5, 6}, 8, 0   }, /* SACK blocks of a SYN */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *w = world();
        w_open(w, 4);
        w_in(w, &(struct seg){
                    .seq = 1, .flags = F_SYN, .wnd = 60000, .options = rows[i].o, .options_len = rows[i].n});
        uint32_t ack = w_connected(w, 0).seq + 1;
        w_in(w, &(struct seg){.seq = 2, .ack = ack, .flags = F_ACK, .wnd = 60000});
        w_arrive(w, 0, 30000);
        struct seg s = w_out(w);
        CHECK_EQ(s.gso_size, rows[i].segment ? rows[i].segment : 536);
        w_close_all(w);
    }
}

TEST(T1_window_scale_255)
{
    struct world *w = world();
    static const uint8_t o[] = {3, 3, 255, 1};
    w_open(w, 4);
    w_in(w, &(struct seg){.seq = 1, .flags = F_SYN, .wnd = 65535, .options = o, .options_len = 4});
    uint32_t ack = w_connected(w, 0).seq + 1;
    w_in(w, &(struct seg){.seq = 2, .ack = ack, .flags = F_ACK, .wnd = 65535}); /* 1 GiB, as 14 is the most */
    w_arrive(w, 0, UINT64_C(10) << 20);
    uint32_t most = 0;
    for (struct seg s; (s = w_out(w)).flags;)
        most = s.seq + s.len - ack;
    CHECK(most <= 1024 * 1024); /* our own bound of what is on its way */
    w_close_all(w);
}

TEST(T2_urgent_pointer_past_the_data_zero_and_wrapping)
{
    static const uint16_t urgent[] = {0, 1, 9, 10, 11, 1000, 0x7fff, 0x8000, 0xffff};
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    uint32_t sent = 0;
    for (size_t i = 0; i < sizeof urgent / sizeof urgent[0]; i++) {
        for (uint32_t len = 0; len <= 10; len += 10) {
            w_in(w, &(struct seg){.seq = l.seq + sent,
                                  .ack = l.ack,
                                  .flags = F_ACK | F_URG,
                                  .wnd = GUEST_WND,
                                  .len = len,
                                  .from = sent,
                                  .urgent = urgent[i]});
            sent += len;
            CHECK_EQ(w->socks[l.fd].written, sent); /* ordinary data, no byte more or less */
        }
    }
    w_close_all(w);
}

/* Any segment at any state: nothing may fall over, and what is said must be TCP (net_tcp.h checks each segment and that no
 * socket is used after its end). */
TEST(T3_random_walks_through_all_states)
{
    uint64_t rnd = 7;
    unsigned closed = 0;
    for (unsigned long walk = test_scale(400); walk; walk--) {
        struct world *w = world();
        w->no_peek_off = walk & 1;
        w->send_buffer = 4000;
        w_open(w, 6);
        uint32_t seq = (uint32_t)test_rand(&rnd), ack = 0;
        for (int step = 0; step < 120; step++) {
            uint64_t r = test_rand(&rnd);
            uint16_t port = (uint16_t)(1 + (r & 3));
            int fd = w->opened ? (int)(test_rand(&rnd) % (unsigned)w->opened) : -1;
            struct sock *s = fd >= 0 && w->socks[fd].open ? &w->socks[fd] : NULL;
            struct seg g = {.guest_port = port,
                            .seq = seq + (uint32_t)(r >> 8 & 3) - 1,
                            .ack = ack + (uint32_t)(r >> 10 & 1),
                            .flags = (uint8_t)(r >> 16),
                            .wnd = r >> 24 & 1 ? 0 : (uint16_t)(r >> 26),
                            .data = NULL,
                            .stream = 0};
            switch (r >> 48 & 15) {
            case 0:
                g.flags = F_SYN;
                break;
            case 1:
            case 2:
            case 3:
                g.flags = F_ACK;
                break;
            case 4:
                g.flags = F_ACK | F_FIN;
                break;
            case 5:
                g.flags = F_RST;
                break;
            case 6:
                if (s) {
                    s->arrived += s->eof ? 0 : r >> 52 & 0x7ff;
                    w_event(w, fd, EPOLLIN);
                }
                break;
            case 7:
                if (s) {
                    s->eof = true;
                    w_event(w, fd, EPOLLIN | EPOLLRDHUP);
                }
                break;
            case 8:
                if (s) {
                    s->error = -ECONNRESET;
                    w_event(w, fd, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP);
                }
                break;
            case 9:
            case 10:
                if (s && s->connecting) {
                    s->connecting = false;
                    w_event(w, fd, EPOLLOUT);
                }
                break;
            case 11:
                w_wait(w, (r >> 52) * 2000000);
                break;
            case 12:
                w->busy = !w->busy;
                if (!w->busy)
                    tcp_ready(w->t);
                break;
            case 13: {
                struct tcp_ends ends = {w_addr(false, 15), w_addr(false, 99), port, P_PORT};
                if (w->opened < W_SOCKETS - 1)
                    tcp_forward(w->t, w_new_socket(w), &ends);
                break;
            }
            default:
                break;
            }
            w_put(w, &g);
            if (r >> 60)
                w_run(w);
            while (w->out_n) { /* a guest that knows the numbers gets further */
                struct seg o = w_out(w);
                if (o.flags & F_ACK && !(o.flags & F_RST))
                    seq = o.ack;
                ack = o.seq + o.len + (o.flags & (F_SYN | F_FIN) ? 1 : 0);
            }
        }
        closed += tcp_counter(w->t, TCP_RESETS_IN) != 0;
        w_close_all(w);
    }
    CHECK(closed); /* the walks got somewhere */
}

TEST(T3_syn_in_an_established_connection_is_challenged)
{
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    for (int i = 0; i < 3; i++) {
        static const uint32_t at[] = {0, 5, 0x70000000};
        w_in(w, &(struct seg){.seq = l.seq + at[i], .ack = l.ack, .flags = F_SYN, .wnd = 1});
        struct seg s = w_out(w);
        CHECK_EQ(s.flags, F_ACK);
        CHECK_EQ(s.ack, l.seq);
        CHECK_EQ(s.seq, l.ack);
        w_wait(w, 30000000);
    }
    /* a guest that was started afresh answers that with RST, and its next SYN gets through */
    w_in(w, &(struct seg){.seq = l.seq, .flags = F_RST});
    CHECK_EQ(tcp_connections(w->t), 0);
    w_in(w, &(struct seg){.seq = 999, .flags = F_SYN, .wnd = 1});
    CHECK_EQ(w->opened, 2);
    w_close_all(w);
}

TEST(T3_segments_to_no_connection_get_rst_but_rst_gets_nothing)
{
    struct world *w = world();
    w_open(w, 4);
    for (unsigned flags = 0; flags < 64; flags++) {
        w_in(w, &(struct seg){.seq = 100, .ack = 200, .flags = (uint8_t)flags, .len = 10});
        struct seg s = w_out(w);
        if (flags & F_RST) {
            CHECK_EQ(s.flags, 0);
        } else if ((flags & (F_SYN | F_ACK | F_FIN)) == F_SYN) {
            CHECK_EQ(s.flags, 0); /* a connection */
            w->socks[w->opened - 1].error = -ETIMEDOUT;
            w_event(w, w->opened - 1, EPOLLERR);
        } else if (flags & F_ACK) {
            CHECK_EQ(s.flags, F_RST);
            CHECK_EQ(s.seq, 200);
        } else {
            CHECK_EQ(s.flags, F_RST | F_ACK);
            CHECK_EQ(s.ack, 110u + !!(flags & F_SYN) + !!(flags & F_FIN));
        }
        CHECK_EQ(tcp_connections(w->t), 0);
    }
    w_close_all(w);
}

TEST(T4_reset_must_hit_the_next_number_exactly)
{
    static const int32_t off[] = {-1, 1, 100, 40000, -40000, 0x7fffffff};
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        w_wait(w, 30000000);
        w_in(w, &(struct seg){.seq = l.seq + (uint32_t)off[i], .ack = l.ack, .flags = F_RST});
        struct seg s = w_out(w);
        CHECK_EQ(s.flags,
                 off[i] > 0 && off[i] < 65536 ? F_ACK : 0); /* in the window: a challenge (RFC 5961, 3.2) */
        CHECK_EQ(tcp_connections(w->t), 1);
    }
    w_in(w, &(struct seg){.seq = l.seq, .ack = 12345, .flags = F_RST | F_ACK});
    CHECK_EQ(tcp_connections(w->t), 0);
    w_close_all(w);
}

TEST(T4_challenges_are_bounded)
{
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    w_wait(w, 1000000000);
    uint64_t before = w->sent;
    for (int i = 0; i < 10000; i++)
        w_in(w, &(struct seg){.seq = l.seq + 5, .ack = l.ack, .flags = F_RST});
    CHECK_EQ(w->sent - before, 1);
    w_close_all(w);
}

TEST(T4_ack_of_what_was_never_sent_or_is_too_old)
{
    static const int32_t off[] = {1, 1000, 0x7fffffff, -1000000, -0x7fffffff};
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        w_wait(w, 30000000);
        w_in(w, &(struct seg){
                    .seq = l.seq, .ack = l.ack + (uint32_t)off[i], .flags = F_ACK, .wnd = 7, .len = 10});
        CHECK_EQ(w->socks[l.fd].written, 0); /* its data are not believed either (RFC 5961, 5.2) */
        struct seg s = w_out(w);
        CHECK_EQ(s.flags, F_ACK);
        CHECK_EQ(s.ack, l.seq);
    }
    CHECK_EQ(tcp_counter(w->t, TCP_BAD_ACK), 5);
    w_close_all(w);
}

TEST(T4_data_beyond_the_window_is_cut_and_its_fin_ignored)
{
    struct world *w = world();
    w->send_buffer = 40000;
    w_open(w, 4);
    struct link l = w_establish(w, 0); /* 30,000 offered */
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK | F_FIN, .wnd = 9, .len = 39000});
    CHECK(w->socks[l.fd].written <= 30000 && w->socks[l.fd].written > 29000);
    CHECK(!w->socks[l.fd].shut);
    CHECK_EQ(w_out(w).ack, l.seq + (uint32_t)w->socks[l.fd].written);
    /* wholly beyond it */
    w_in(w, &(struct seg){.seq = l.seq + 60000, .ack = l.ack, .flags = F_ACK, .wnd = 9, .len = 10});
    CHECK(w->socks[l.fd].written <= 30000);
    w_close_all(w);
}

TEST(T4_overlapping_retransmits_add_only_what_is_new)
{
    struct world *w = world();
    uint64_t rnd = 3;
    uint32_t have = 0;
    w_open(w, 4);
    struct link l = w_establish(w, 0); /* numbers wrap after 4,095 bytes */
    for (int i = 0; i < 2000; i++) {
        uint32_t from = have > 3000 ? have - (uint32_t)(test_rand(&rnd) % 3000) : 0;
        uint32_t len = (uint32_t)(test_rand(&rnd) % 4000);
        w_in(w, &(struct seg){
                    .seq = l.seq + from, .ack = l.ack, .flags = F_ACK, .wnd = 9, .len = len, .from = from});
        have = from + len > have ? from + len : have;
        CHECK_EQ(w->socks[l.fd].written, have); /* w_send() looks at every byte */
        w->socks[l.fd].drained = have;
    }
    w_close_all(w);
}

TEST(T4_old_duplicates_of_the_whole_range)
{
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    for (uint32_t i = 1; i < 4096; i++) { /* every 1 MiB of the sequence space */
        w_in(w, &(struct seg){.seq = l.seq + (i << 20), .ack = l.ack, .flags = F_ACK, .wnd = 9, .len = 1000});
        CHECK_EQ(w->socks[l.fd].written, 0);
    }
    CHECK_EQ(tcp_connections(w->t), 1);
    w_close_all(w);
}

TEST(T4_T6_zero_window_before_a_gigabyte_costs_a_probe_a_minute)
{
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = 0});
    w_arrive(w, l.fd, UINT64_C(1) << 30); /* the kernel would stop it at its buffer's size */
    for (int i = 0; i < 86400; i += 30) {
        w_wait(w, UINT64_C(30) * 1000000000);
        while (w->out_n) {
            CHECK_EQ(w_out(w).len, 0);
            w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = 0});
        }
    }
    CHECK(w->sent < 1500);
    CHECK(w->socks[l.fd].copied == 0);
    CHECK_EQ(tcp_connections(w->t), 1); /* it lives, so it is kept */
    w_close_all(w);
}

TEST(T4_silly_window_is_not_served_byte_by_byte)
{
    struct world *w = world();
    w_open(w, 4);
    struct link l = w_establish(w, 0);
    w_arrive(w, l.fd, 10000);
    w_forget(w);
    uint32_t acked = l.ack + 10000;
    w->socks[l.fd].arrived += 100000;
    uint64_t before = w->sent;
    w_in(w, &(struct seg){.seq = l.seq, .ack = acked, .flags = F_ACK, .wnd = 1}); /* 128 bytes */
    w_event(w, l.fd, EPOLLIN);
    w_run(w);
    CHECK_EQ(w->sent, before);
    for (int i = 0; i < 100; i++) /* told again and again */
        w_in(w, &(struct seg){.seq = l.seq, .ack = acked, .flags = F_ACK, .wnd = 1});
    CHECK_EQ(w->sent, before);
    w_wait(w, 1100000000); /* but in the end it is used, so that nothing can hang (RFC 9293, 3.8.6.2.1) */
    struct seg s, last = {.len = 0};
    while ((s = w_out(w)).flags)
        last = s;
    CHECK_EQ(last.len, 128);
    w_close_all(w);
}

TEST(T5_payloads_that_other_stacks_rewrite_pass_unchanged)
{
    /* ident, FTP and IRC: there is no code here that looks into payloads, and this is where it would show */
    static const char *const text[] = {"113, 40000\r\n", "PORT 10,0,2,15,156,64\r\n",
                                       "DCC SEND x 167772687 40000 1\r\n",
                                       "227 Entering Passive Mode (10,0,2,15,156,64)\r\n"};
    static const uint16_t ports[] = {113, 21, 6667, 21};
    for (int i = 0; i < 4; i++) {
        int sv[2] = {-1, -1};
        char err[100], got[200] = "";
        struct world *w = world();
        w_open(w, 4);
        tcp_free(w->t); /* this one with the real kernel at its end */
        CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv));
        w->t = tcp_new(&(struct tcp_config){.loop = w->loop, .ops = &fake_ops, .ctx = w, .seed = 1}, err,
                       sizeof err);
        struct tcp_ends ends = {w_addr(false, 15), w_addr(false, 99), G_PORT, ports[i]};
        CHECK(tcp_forward(w->t, sv[0], &ends));
        w_run(w);
        uint32_t ack = w_out(w).seq + 1;
        w_in(w,
             &(struct seg){.peer_port = ports[i], .seq = 1, .ack = ack, .flags = F_SYN | F_ACK, .wnd = 1000});
        w_in(w, &(struct seg){.peer_port = ports[i],
                              .seq = 2,
                              .ack = ack,
                              .flags = F_ACK,
                              .wnd = 1000,
                              .len = (uint32_t)strlen(text[i]),
                              .data = (const uint8_t *)text[i]});
        CHECK_EQ(recv(sv[1], got, sizeof got, 0), strlen(text[i]));
        CHECK_STR(got, text[i]);
        close(sv[1]);
        tcp_free(w->t);
        loop_free(w->loop);
    }
}

TEST(T6_reset_during_connect_and_forwards_without_end)
{
    struct world *w = world();
    w_open(w, 100);
    w_in(w, &(struct seg){.seq = 1, .flags = F_SYN, .wnd = 9});
    w->socks[0].error = -ECONNRESET;
    w_event(w, 0, EPOLLERR | EPOLLHUP | EPOLLIN);
    w_run(w);
    CHECK_EQ(w_out(w).flags, F_RST | F_ACK);
    CHECK_EQ(tcp_connections(w->t), 0);
    for (int i = 0; i < 2000; i++) {
        struct tcp_ends ends = {w_addr(false, 15), w_addr(false, 99), 22, (uint16_t)(i + 1)};
        CHECK(tcp_forward(w->t, w_new_socket(w), &ends) == (i < 50));
    }
    CHECK_EQ(w->open, 50); /* the others were reset at once */
    CHECK_EQ(tcp_counter(w->t, TCP_REFUSED_FULL), 1950);
    w_run(w);
    struct seg asked = w_out(w);
    CHECK_EQ(asked.flags, F_SYN);
    for (uint16_t i = 0; i < 50; i++) { /* the guest's own are none the worse for it */
        w_forget(w);
        struct link l = w_establish(w, (uint16_t)(1000 + i));
        w_in(w, &(struct seg){.guest_port = l.port, .seq = l.seq, .ack = l.ack, .flags = F_RST});
    }
    CHECK_EQ(w->open, 50);
    /* one that it does answer counts no more */
    struct tcp_ends more = {w_addr(false, 15), w_addr(false, 99), 22, 3000};
    CHECK(!tcp_forward(w->t, w_new_socket(w), &more));
    struct seg answer = {.guest_port = 22,
                         .peer_port = asked.peer_port,
                         .seq = 9,
                         .ack = asked.seq + 1,
                         .flags = F_SYN | F_ACK,
                         .wnd = 9};
    w_in(w, &answer);
    CHECK(tcp_forward(w->t, w_new_socket(w), &more));
    w_in(w, &(struct seg){.guest_port = 22, .peer_port = asked.peer_port, .seq = 10, .flags = F_RST});
    w_wait(w, UINT64_C(200) * 1000000000); /* a guest that never answers */
    CHECK_EQ(w->open, 0);
    CHECK_EQ(tcp_connections(w->t), 0);
    w_close_all(w);
}

TEST(U11_flood_of_syns_is_refused_at_the_limit_and_leaves_nothing)
{
    struct world *w = world();
    w_open(w, 1024);
    for (uint32_t i = 0; i < test_scale(60000); i++)
        w_put(w, &(struct seg){.guest_port = (uint16_t)(1 + i % 65535), .seq = i, .flags = F_SYN, .wnd = 9});
    w_run(w);
    CHECK_EQ(tcp_connections(w->t), 512); /* half is kept for connections that work */
    CHECK_EQ(w->open, 512);
    CHECK(tcp_counter(w->t, TCP_REFUSED_FULL) >= test_scale(60000) - 1000);
    CHECK_EQ(tcp_counter(w->t, TCP_RESETS_OUT), tcp_counter(w->t, TCP_REFUSED_FULL));
    for (int fd = 0; fd < 512; fd++) {
        w->socks[fd].error = -ETIMEDOUT;
        w_event(w, fd, EPOLLERR | EPOLLHUP);
    }
    CHECK_EQ(tcp_connections(w->t), 0);
    w_close_all(w);
}

TEST(U11_thousand_connections_at_once)
{
    struct world *w = world();
    w_open(w, 1100);
    struct link l[1024];
    for (int i = 0; i < 1024; i++)
        l[i] = w_establish(w, (uint16_t)(1000 + i));
    CHECK_EQ(tcp_connections(w->t), 1024);
    for (int i = 0; i < 1024; i++) {
        w_in(w, &(struct seg){.guest_port = l[i].port,
                              .seq = l[i].seq,
                              .ack = l[i].ack,
                              .flags = F_ACK,
                              .wnd = 9,
                              .len = 10,
                              .stream = (uint32_t)l[i].fd});
        CHECK_EQ(w->socks[l[i].fd].written, 10);
        w_arrive(w, l[i].fd, 100);
        struct seg s = w_out(w);
        CHECK_EQ(s.guest_port, l[i].port);
        CHECK_EQ(s.first[0], far_byte((uint32_t)l[i].fd, 0));
    }
    w_close_all(w);
}

TEST(U11_time_wait_gives_its_entry_away)
{
    struct world *w = world();
    w_open(w, 8);
    for (uint16_t i = 1; i <= 1000; i++) { /* the host closes each at once: all would be in TIME_WAIT */
        struct link l = w_establish(w, i);
        w->socks[l.fd].eof = true;
        w_event(w, l.fd, EPOLLIN | EPOLLRDHUP);
        w_run(w);
        w_in(w, &(struct seg){
                    .guest_port = i, .seq = l.seq, .ack = l.ack + 1, .flags = F_FIN | F_ACK, .wnd = 9});
        w_forget(w);
    }
    CHECK_EQ(tcp_counter(w->t, TCP_REFUSED_FULL), 0);
    CHECK_EQ(tcp_connections(w->t), 8);
    w_close_all(w);
}

TEST(U11_no_descriptor_left_is_a_refusal)
{
    struct world *w = world();
    w_open(w, 8);
    w->connect_error = EMFILE;
    for (uint16_t i = 1; i <= 100; i++) {
        w_in(w, &(struct seg){.guest_port = i, .seq = 1, .flags = F_SYN, .wnd = 9});
        CHECK_EQ(w_out(w).flags, F_RST | F_ACK);
    }
    CHECK_EQ(tcp_counter(w->t, TCP_REFUSED_HOST), 100);
    CHECK_EQ(tcp_connections(w->t), 0);
    w_close_all(w);
}

TEST(checksum_that_is_wrong_is_dropped)
{
    struct world *w = world();
    w_open(w, 4);
    uint8_t m[20] = {1, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, F_SYN, 1, 0, 0x12, 0x34, 0, 0};
    struct iovec iov = {m, 20};
    struct ip_packet p = {
        .src = w_addr(false, 15), .dst = w_addr(false, 99), .proto = IP_TCP, .iov = &iov, .n = 1, .len = 20};
    tcp_input(w->t, &p);
    CHECK_EQ(tcp_counter(w->t, TCP_BAD_CHECKSUM), 1);
    CHECK_EQ(w->opened, 0);
    w_close_all(w);
}
