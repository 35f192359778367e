// SPDX-License-Identifier: MIT
/* TCP of the user-mode network: what it must do, a step at a time. Bad input is in net_tcp_bad.c, loss and disorder in
 * net_tcp_property.c. */
#include "net_tcp.h"

static struct world w_;

static struct world *world(void)
{
    memset(&w_, 0, sizeof w_);
    return &w_;
}

TEST(guest_connects_and_both_talk)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    CHECK_EQ(tcp_connections(w->t), 1);

    /* the guest's bytes go to the socket at once, their ACK after a while */
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK | F_PSH, .wnd = GUEST_WND, .len = 100});
    CHECK_EQ(w->socks[l.fd].written, 100);
    CHECK_EQ(w->out_n, 0);
    w_wait(w, 25000000);
    struct seg s = w_out(w);
    CHECK_EQ(s.flags, F_ACK);
    CHECK_EQ(s.ack, l.seq + 100);

    /* the far end's bytes; an answer that is quick carries the ACK */
    w_in(w, &(struct seg){
                .seq = l.seq + 100, .ack = l.ack, .flags = F_ACK, .wnd = GUEST_WND, .len = 1, .from = 100});
    w_arrive(w, l.fd, 50);
    s = w_out(w);
    CHECK_EQ(s.seq, l.ack);
    CHECK_EQ(s.len, 50);
    CHECK_EQ(s.ack, l.seq + 101);
    CHECK_EQ(s.flags, F_ACK | F_PSH);
    for (int i = 0; i < 50; i++)
        CHECK_EQ(s.first[i], far_byte((uint32_t)l.fd, (uint64_t)i));
    w_wait(w, 25000000);
    CHECK_EQ(w->out_n, 0);
    w_close_all(w);
}

TEST(bytes_stay_in_the_socket_until_the_guest_has_them)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w_arrive(w, l.fd, 40000);
    CHECK_EQ(w->socks[l.fd].taken, 0);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 20000, .flags = F_ACK, .wnd = GUEST_WND});
    CHECK_EQ(w->socks[l.fd].taken, 20000);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 40000, .flags = F_ACK, .wnd = GUEST_WND});
    CHECK_EQ(w->socks[l.fd].taken, 40000);
    w_close_all(w);
}

/* A host whose sockets hold next to nothing (tcp_rmem): what the guest has acknowledged must not stay there, or the far end
 * has no room to send what would take it out. */
TEST(small_receive_buffer_is_not_filled_with_what_the_guest_has)
{
    for (int peek_off = 0; peek_off < 2; peek_off++) {
        struct world *w = world();
        w->receive_buffer = 4096;
        w->no_peek_off = !peek_off;
        w_open(w, 4);
        struct link l = w_establish(w, 0);
        struct sock *s = &w->socks[l.fd];
        for (unsigned i = 1; i <= 100; i++) {
            w_arrive(w, l.fd, 500);
            CHECK_EQ(w_out(w).len, 500);
            w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + i * 500, .flags = F_ACK, .wnd = GUEST_WND});
            CHECK(s->arrived - s->taken < w->receive_buffer / 4);
        }
        w_close_all(w);
    }
}

/* The last byte of something large may hold the kernel's whole buffer of it. Single bytes may stay, for a while. */
TEST(nothing_large_stays_in_the_socket_when_the_guest_has_it)
{
    for (int peek_off = 0; peek_off < 2; peek_off++) {
        struct world *w = world();
        w->no_peek_off = !peek_off;
        w_open(w, 4);
        struct link l = w_establish(w, 0);
        struct sock *s = &w->socks[l.fd];
        uint32_t all = 0;
        for (unsigned i = 0; i < 3; i++) {
            w_arrive(w, l.fd, 60000);
            all += 60000;
            while (w_out(w).flags)
                ;
            w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + all - 1000, .flags = F_ACK, .wnd = GUEST_WND});
            w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + all, .flags = F_ACK, .wnd = GUEST_WND});
            CHECK_EQ(s->taken, all);
        }
        w_arrive(w, l.fd, 1);
        CHECK_EQ(w_out(w).len, 1);
        w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + all + 1, .flags = F_ACK, .wnd = GUEST_WND});
        CHECK_EQ(s->taken, all);
        w_close_all(w);
    }
}

TEST(syn_ack_offers_mss_and_scale)
{
    struct world *w = world();
    w->mss = 1460;
    w_open(w, 16);
    w_in(w, &(struct seg){.seq = 5, .flags = F_SYN, .wnd = 1, .options = opt_usual, .options_len = 8});
    struct seg s = w_connected(w, 0);
    CHECK_EQ(s.mss, 1460);
    CHECK_EQ(s.scale, 7);
    CHECK_EQ(s.wnd, 65535);
    /* none asked for: none given */
    w_in(w, &(struct seg){.guest_port = 7, .seq = 5, .flags = F_SYN, .wnd = 1});
    s = w_connected(w, 1);
    CHECK_EQ(s.scale, -1);
    w_close_all(w);
}

TEST(large_segments_travel_uncut)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w_arrive(w, l.fd, 1000000);
    uint32_t next = l.ack;
    unsigned n = 0;
    for (struct seg s; (s = w_out(w)).flags; n++) {
        CHECK_EQ(s.seq, next);
        CHECK(s.len <= 65535 - 40);
        CHECK_EQ(s.gso_size, s.len > 1460 ? 1460 : 0);
        next += s.len;
    }
    CHECK(next - l.ack > GUEST_WND * 128 - 1460);
    CHECK(next - l.ack <= GUEST_WND * 128);
    CHECK(n <= 3);
    w_close_all(w);
}

TEST(guest_closes_first)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_FIN | F_ACK, .wnd = GUEST_WND, .len = 5});
    CHECK(w->socks[l.fd].shut && w->socks[l.fd].open);
    CHECK_EQ(w->socks[l.fd].written, 5);
    struct seg s = w_out(w);
    CHECK_EQ(s.ack, l.seq + 6);
    /* half-closed: the far end goes on */
    w_arrive(w, l.fd, 10);
    CHECK_EQ(w_out(w).len, 10);
    w->socks[l.fd].arrived += 3;
    w->socks[l.fd].eof = true;
    w_event(w, l.fd, EPOLLIN | EPOLLRDHUP);
    w_run(w);
    s = w_out(w);
    CHECK_EQ(s.flags, F_FIN | F_ACK | F_PSH);
    CHECK_EQ(s.len, 3);
    w_in(w, &(struct seg){.seq = l.seq + 6, .ack = l.ack + 14, .flags = F_ACK, .wnd = GUEST_WND});
    CHECK_EQ(tcp_connections(w->t), 0); /* no TIME_WAIT: that is the guest's */
    CHECK(!w->socks[l.fd].open && !w->socks[l.fd].reset);
    w_close_all(w);
}

TEST(host_closes_first_and_time_wait_ends)
{
    for (int mode = 0; mode < 2; mode++) {
        struct world *w = world();
        w->no_peek_off = mode;
        w_open(w, 16);
        struct link l = w_establish(w, 0);
        w->socks[l.fd].eof = true;
        w_event(w, l.fd, EPOLLIN | EPOLLRDHUP);
        w_run(w);
        struct seg s = w_out(w);
        CHECK_EQ(s.flags & F_FIN, F_FIN);
        CHECK_EQ(s.seq, l.ack);
        /* half-closed the other way: the guest goes on */
        w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 1, .flags = F_ACK, .wnd = GUEST_WND, .len = 9});
        CHECK_EQ(w->socks[l.fd].written, 9);
        CHECK(!w->socks[l.fd].shut);
        w_in(w, &(struct seg){.seq = l.seq + 9, .ack = l.ack + 1, .flags = F_FIN | F_ACK, .wnd = GUEST_WND});
        CHECK(w->socks[l.fd].shut && !w->socks[l.fd].open && !w->socks[l.fd].reset);
        CHECK_EQ(w_out(w).ack, l.seq + 10);
        CHECK_EQ(tcp_connections(w->t), 1);
        /* its ACK was lost: the FIN comes again */
        w_in(w, &(struct seg){.seq = l.seq + 9, .ack = l.ack + 1, .flags = F_FIN | F_ACK, .wnd = GUEST_WND});
        CHECK_EQ(w_out(w).ack, l.seq + 10);
        w_wait(w, 1100000000);
        CHECK_EQ(tcp_connections(w->t), 0);
        CHECK_EQ(loop_next(w->loop), LOOP_NEVER);
        w_close_all(w);
    }
}

TEST(both_close_at_once)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w->socks[l.fd].eof = true;
    w_event(w, l.fd, EPOLLIN | EPOLLRDHUP);
    w_run(w);
    CHECK_EQ(w_out(w).flags & F_FIN, F_FIN);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_FIN | F_ACK, .wnd = GUEST_WND});
    CHECK_EQ(w_out(w).ack, l.seq + 1);
    CHECK_EQ(tcp_connections(w->t), 1);
    w_in(w, &(struct seg){.seq = l.seq + 1, .ack = l.ack + 1, .flags = F_ACK, .wnd = GUEST_WND});
    CHECK(!w->socks[l.fd].open);
    CHECK_EQ(tcp_connections(w->t), 1);
    w_wait(w, 1100000000);
    CHECK_EQ(tcp_connections(w->t), 0);
    w_close_all(w);
}

TEST(time_wait_gives_way_to_a_new_syn)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w->socks[l.fd].eof = true;
    w_event(w, l.fd, EPOLLIN | EPOLLRDHUP);
    w_run(w);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 1, .flags = F_FIN | F_ACK, .wnd = GUEST_WND});
    w_forget(w);
    w_in(w, &(struct seg){.seq = l.seq - 10, .flags = F_SYN, .wnd = 1000}); /* old: an ACK, no more */
    CHECK_EQ(w->opened, 1);
    w_in(w, &(struct seg){.seq = l.seq + 10, .flags = F_SYN, .wnd = 1000});
    CHECK_EQ(w->opened, 2);
    w_close_all(w);
}

TEST(refused_unreachable_and_timed_out_are_told_apart)
{
    static const struct {
        int error;
        bool at_once, rst, icmp;
    } rows[] = {
        {ECONNREFUSED, false, true,  false},
        {EHOSTUNREACH, false, true,  true },
        {ENETUNREACH,  true,  true,  true },
        {ETIMEDOUT,    false, false, false},
        {EMFILE,       true,  true,  false},
        {EACCES,       true,  true,  true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct world *w = world();
        w_open(w, 16);
        w->connect_error = rows[i].at_once ? rows[i].error : 0;
        w_in(w, &(struct seg){.seq = 77, .flags = F_SYN, .wnd = 1000});
        if (!rows[i].at_once) {
            CHECK_EQ(w->out_n, 0);
            w->socks[0].error = -rows[i].error;
            w_event(w, 0, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP);
            w_run(w);
        }
        struct seg s = w_out(w);
        CHECK_EQ(s.flags, rows[i].rst ? F_RST | F_ACK : 0);
        if (rows[i].rst) {
            CHECK_EQ(s.seq, 0);
            CHECK_EQ(s.ack, 78);
        }
        CHECK_EQ(w->refused, rows[i].icmp);
        if (rows[i].icmp)
            CHECK_EQ(w->refused_quote[7], 77);
        CHECK_EQ(tcp_connections(w->t), 0);
        w_close_all(w);
    }
}

TEST(policy_refuses_by_rst_or_icmp)
{
    struct world *w = world();
    w_open(w, 16);
    w->verdict = IP_NO_PORT;
    w_in(w, &(struct seg){.seq = 77, .flags = F_SYN, .wnd = 1000});
    CHECK_EQ(w_out(w).flags, F_RST | F_ACK);
    CHECK_EQ(w->refused, 0);
    w->verdict = IP_PROHIBITED;
    w_in(w, &(struct seg){.seq = 77, .flags = F_SYN, .wnd = 1000});
    CHECK_EQ(w_out(w).flags, F_RST | F_ACK);
    CHECK_EQ(w->refused, 1);
    CHECK_EQ(w->refused_why, IP_PROHIBITED);
    CHECK_EQ(w->opened, 0);
    CHECK_EQ(tcp_counter(w->t, TCP_REFUSED_POLICY), 2);
    w_close_all(w);
}

TEST(reset_travels_both_ways)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_RST, .wnd = 0});
    CHECK(w->socks[l.fd].reset);
    CHECK_EQ(w->out_n, 0);
    CHECK_EQ(tcp_connections(w->t), 0);

    /* from the host: what had arrived before is delivered first */
    l = w_establish(w, 2);
    w->socks[l.fd].arrived = 100;
    w->socks[l.fd].error = -ECONNRESET;
    w_event(w, l.fd, EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP);
    w_run(w);
    struct seg s = w_out(w);
    CHECK_EQ(s.len, 100);
    CHECK_EQ(s.flags & F_FIN, 0);
    s = w_out(w);
    CHECK_EQ(s.flags, F_RST | F_ACK);
    CHECK_EQ(s.seq, l.ack + 100);
    CHECK_EQ(tcp_connections(w->t), 0);

    /* and while the guest writes */
    l = w_establish(w, 3);
    w->socks[l.fd].error = -EPIPE;
    w_in(w, &(struct seg){.guest_port = 3, .seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = 9, .len = 1});
    CHECK_EQ(w_out(w).flags, F_RST | F_ACK);
    w_close_all(w);
}

/* The far end has closed, and resets when the guest writes, or because its program has ended: a guest that only waits to write
 * must hear of it as well. */
TEST(reset_after_the_hosts_fin_reaches_a_silent_guest)
{
    struct world *w = world();
    w_open(w, 16);
    for (int acked = 0; acked < 2; acked++) {
        struct link l = w_establish(w, (uint16_t)(50 + acked));
        struct seg ack = {
            .guest_port = l.port, .seq = l.seq, .ack = l.ack + 1, .flags = F_ACK, .wnd = GUEST_WND};
        w->socks[l.fd].eof = true;
        w_event(w, l.fd, EPOLLIN | EPOLLRDHUP);
        w_run(w);
        CHECK_EQ(w_out(w).flags, F_FIN | F_ACK | F_PSH);
        if (acked)
            w_in(w, &ack);
        w->socks[l.fd].error = -EPIPE;
        w_event(w, l.fd, EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP);
        w_run(w);
        if (!acked) {
            CHECK_EQ(w->out_n, 0); /* the FIN first */
            w_in(w, &ack);
        }
        struct seg s = w_out(w);
        CHECK_EQ(s.flags, F_RST | F_ACK);
        CHECK_EQ(s.seq, l.ack + 1);
        CHECK_EQ(tcp_connections(w->t), 0);
    }
    w_close_all(w);
}

TEST(busy_loses_nothing)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w->busy = true;
    w_arrive(w, l.fd, 5000);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK | F_FIN, .wnd = GUEST_WND, .len = 10});
    CHECK_EQ(w->out_n, 0);
    w_wait(w, 3000000000); /* nothing is tried, nothing gives up */
    uint64_t calls = w->calls;
    w_run(w);
    CHECK_EQ(w->calls, calls);
    w->busy = false;
    tcp_ready(w->t);
    w_run(w);
    struct seg s = w_out(w);
    CHECK_EQ(s.seq, l.ack);
    CHECK_EQ(s.len, 5000);
    CHECK_EQ(s.ack, l.seq + 11);
    CHECK_EQ(w->out_n, 0);

    /* a reset waits too */
    w->busy = true;
    w->socks[l.fd].error = -ECONNRESET;
    w_event(w, l.fd, EPOLLIN | EPOLLERR | EPOLLHUP);
    w_run(w);
    w->busy = false;
    tcp_ready(w->t);
    w_run(w);
    CHECK_EQ(w_out(w).flags, F_RST | F_ACK);
    CHECK_EQ(tcp_connections(w->t), 0);
    w_close_all(w);
}

TEST(closed_window_is_probed_with_backoff)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = 0});
    w_arrive(w, l.fd, 5000);
    CHECK_EQ(w->out_n, 0);
    unsigned probes = 0;
    for (int i = 0; i < 60; i++) { /* a guest that does not read for a minute and answers every probe */
        w_wait(w, 1000000000);
        while (w->out_n) {
            struct seg s = w_out(w);
            CHECK_EQ(s.len, 0);
            CHECK_EQ(s.seq, l.ack - 1);
            probes++;
            w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = 0});
        }
    }
    CHECK(probes >= 4 && probes <= 8);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = GUEST_WND});
    CHECK_EQ(w_out(w).len, 5000);
    w_close_all(w);
}

TEST(lost_segment_is_sent_again)
{
    for (int mode = 0; mode < 2; mode++) {
        struct world *w = world();
        w->no_peek_off = mode;
        w_open(w, 16);
        struct link l = w_establish(w, 0);
        w_arrive(w, l.fd, 14600);
        struct seg s = w_out(w);
        CHECK_EQ(s.len, 14600);
        /* by the timer, one segment first, then twice as much with each ACK */
        w_wait(w, 1100000000);
        s = w_out(w);
        CHECK_EQ(s.seq, l.ack);
        CHECK_EQ(s.len, 1460);
        CHECK_EQ(w->out_n, 0);
        w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 1460, .flags = F_ACK, .wnd = GUEST_WND});
        s = w_out(w);
        CHECK_EQ(s.seq, l.ack + 1460);
        CHECK_EQ(s.len, 2920);
        w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 14600, .flags = F_ACK, .wnd = GUEST_WND});
        CHECK_EQ(w->out_n, 0);

        /* by duplicates: three, and only the first segment */
        w_arrive(w, l.fd, 14600);
        w_forget(w);
        for (int i = 0; i < 2; i++)
            w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 14600, .flags = F_ACK, .wnd = GUEST_WND});
        CHECK_EQ(w->out_n, 0);
        w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 14600, .flags = F_ACK, .wnd = GUEST_WND});
        s = w_out(w);
        CHECK_EQ(s.seq, l.ack + 14600);
        CHECK_EQ(s.len, 1460);
        CHECK_EQ(w->out_n, 0);
        /* a partial ACK: the next hole */
        w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack + 17520, .flags = F_ACK, .wnd = GUEST_WND});
        s = w_out(w);
        CHECK_EQ(s.seq, l.ack + 17520);
        CHECK_EQ(s.len, 1460);
        CHECK_EQ(s.first[0], far_byte((uint32_t)l.fd, 17520));
        w_close_all(w);
    }
}

TEST(silent_guest_is_given_up)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w_arrive(w, l.fd, 100);
    w_wait(w, UINT64_C(1200) * 1000000000);
    CHECK_EQ(tcp_connections(w->t), 0);
    CHECK(w->socks[l.fd].reset);
    CHECK_EQ(loop_next(w->loop), LOOP_NEVER);
    w_close_all(w);
}

TEST(idle_connection_is_held_and_costs_nothing)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK, .wnd = GUEST_WND, .len = 1});
    w_wait(w, 2000000000);
    w_forget(w);
    uint64_t calls = w->calls, from = w->now;
    CHECK(loop_next(w->loop) > from + UINT64_C(7000) * 1000000000);
    w_wait(w, UINT64_C(7000) * 1000000000);
    CHECK_EQ(w->calls, calls);
    CHECK_EQ(w->out_n, 0);
    /* after two hours it is asked whether it lives */
    w_wait(w, UINT64_C(300) * 1000000000);
    struct seg s = w_out(w);
    CHECK_EQ(s.flags, F_ACK);
    CHECK_EQ(s.seq, l.ack - 1);
    w_in(w, &(struct seg){.seq = l.seq + 1, .ack = l.ack, .flags = F_ACK, .wnd = GUEST_WND});
    w_forget(w);
    w_wait(w, UINT64_C(7000) * 1000000000);
    CHECK_EQ(w->out_n, 0);
    CHECK_EQ(tcp_connections(w->t), 1);
    /* a guest that has gone away */
    w_wait(w, UINT64_C(9000) * 1000000000);
    CHECK_EQ(tcp_connections(w->t), 0);
    w_close_all(w);
}

TEST(guests_own_keepalive_is_answered)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    for (uint32_t len = 0; len < 2; len++) {
        w_in(w, &(struct seg){.seq = l.seq - 1, .ack = l.ack, .flags = F_ACK, .wnd = GUEST_WND, .len = len});
        struct seg s = w_out(w);
        CHECK_EQ(s.flags, F_ACK);
        CHECK_EQ(s.ack, l.seq);
        w_wait(w, 75000000000);
    }
    CHECK_EQ(w->socks[l.fd].written, 0);
    w_close_all(w);
}

TEST(forward_reaches_the_guest)
{
    struct world *w = world();
    w_open(w, 16);
    int fd = w_new_socket(w);
    struct tcp_ends ends = {w_addr(false, 15), w_addr(false, 2), 22, 5000};
    CHECK(tcp_forward(w->t, fd, &ends));
    w_run(w);
    struct seg s = w_out(w);
    CHECK_EQ(s.flags, F_SYN);
    CHECK_EQ(s.scale, 7);
    CHECK_EQ(s.mss, 1460);
    CHECK_EQ(s.peer_port, 5000);
    CHECK_EQ(s.guest_port, 22);
    CHECK(ip_same(&s.src, &ends.peer) && ip_same(&s.dst, &ends.guest));
    w_wait(w, 1100000000); /* it was lost */
    CHECK_EQ(w_out(w).flags, F_SYN);
    /* a second one from the same port gets another */
    int fd2 = w_new_socket(w);
    CHECK(tcp_forward(w->t, fd2, &ends));
    w_run(w);
    CHECK(w_out(w).peer_port != 5000);
    CHECK_EQ(tcp_connections(w->t), 2);
    tcp_print(w->t, stdout);
    w_close_all(w);
}

/* A guest that sends, closes and powers off at once: nothing of it is lost, and what it has not closed does not look closed. */
TEST(end_delivers_what_the_guest_has_closed)
{
    struct world *w = world();
    w_open(w, 16);
    struct link l = w_establish(w, 1), m = w_establish(w, 2);
    w_in(w, &(struct seg){
                .guest_port = 1, .seq = l.seq, .ack = l.ack, .flags = F_FIN | F_ACK, .wnd = 9, .len = 100});
    w_in(w,
         &(struct seg){
             .guest_port = 2, .seq = m.seq, .ack = m.ack, .flags = F_ACK, .wnd = 9, .len = 100, .stream = 1});
    w_close_all(w);
    CHECK(w->socks[l.fd].shut && !w->socks[l.fd].reset);
    CHECK(!w->socks[m.fd].shut && w->socks[m.fd].reset);
}

TEST(guest_reset_closes_everything)
{
    struct world *w = world();
    w_open(w, 16);
    for (uint16_t i = 1; i <= 5; i++)
        w_establish(w, i);
    tcp_guest_reset(w->t);
    w_run(w);
    CHECK_EQ(tcp_connections(w->t), 0);
    CHECK_EQ(w->open, 0);
    CHECK_EQ(w->out_n, 0);
    CHECK_EQ(loop_next(w->loop), LOOP_NEVER);
    w_close_all(w);
}

TEST(full_socket_closes_the_window_and_opens_it_again)
{
    struct world *w = world();
    w->send_buffer = 40000;
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    uint64_t sent = 0;
    uint32_t edge = l.seq + 30000; /* three quarters of it */
    while (seq_left(l.seq + (uint32_t)sent, edge) > 0) {
        uint32_t len = seq_left(l.seq + (uint32_t)sent, edge) < 1460
                           ? (uint32_t)seq_left(l.seq + (uint32_t)sent, edge)
                           : 1460;
        w_in(w, &(struct seg){.seq = l.seq + (uint32_t)sent,
                              .ack = l.ack,
                              .flags = F_ACK,
                              .wnd = 9,
                              .len = len,
                              .from = sent});
        sent += len;
        while (w->out_n) {
            struct seg s = w_out(w);
            uint32_t e = s.ack + ((uint32_t)s.wnd << 7);
            CHECK(seq_left(edge, e) > -128); /* it never moves back, but for rounding */
            edge = seq_left(edge, e) > 0 ? e : edge;
        }
    }
    CHECK_EQ(w->socks[l.fd].written, sent); /* all that was offered was taken */
    CHECK_EQ(tcp_counter(w->t, TCP_NOT_TAKEN), 0);
    CHECK(w->socks[l.fd].tight);
    w->socks[l.fd].drained = sent;
    w_event(w, l.fd, EPOLLOUT);
    w_run(w);
    struct seg s = w_out(w);
    CHECK_EQ(s.ack, l.seq + (uint32_t)sent);
    CHECK((uint32_t)s.wnd << 7 >= 29000);
    w_close_all(w);
}

TEST(what_the_socket_refuses_is_asked_for_again)
{
    struct world *w = world();
    w->send_buffer = 40000;
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    w->socks[l.fd].size = 1000; /* it has shrunk */
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK | F_FIN, .wnd = 9, .len = 1460});
    CHECK_EQ(w->socks[l.fd].written, 1000);
    CHECK(!w->socks[l.fd].shut);
    struct seg s = w_out(w);
    CHECK_EQ(s.ack, l.seq + 1000);
    w_forget(w);
    w->socks[l.fd].drained = 1000;
    w->socks[l.fd].size = 40000;
    w_event(w, l.fd, EPOLLOUT);
    w_run(w);
    CHECK_EQ(w->out_n, 4); /* an ACK and three that look the same */
    w_in(w, &(struct seg){.seq = l.seq, .ack = l.ack, .flags = F_ACK | F_FIN, .wnd = 9, .len = 1460});
    CHECK_EQ(w->socks[l.fd].written, 1460);
    CHECK(w->socks[l.fd].shut);
    w_close_all(w);
}

/* On a kernel without SO_PEEK_OFF for TCP: each byte is copied twice at worst. */
TEST(without_peek_offset_copies_are_bounded)
{
    struct world *w = world();
    w->no_peek_off = true;
    w_open(w, 16);
    struct link l = w_establish(w, 0);
    uint32_t next = l.ack, acked = l.ack;
    w_arrive(w, l.fd, 2000000);
    while (next - l.ack < 2000000) {
        struct seg s = w_out(w);
        if (s.flags) {
            next = s.seq + s.len;
            acked = next - acked > 8000 ? next - 4000 : acked;
        } else {
            acked = next;
        }
        w_in(w, &(struct seg){.seq = l.seq, .ack = acked, .flags = F_ACK, .wnd = GUEST_WND});
    }
    CHECK(w->socks[l.fd].copied <= 4200000);
    CHECK_EQ(tcp_counter(w->t, TCP_RETRANSMITS), 0);
    w_close_all(w);
}
