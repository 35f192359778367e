// SPDX-License-Identifier: MIT
/* TCP for people: states by name, the table of connections, counters. See include/net/tcp.h. */
#include "net/tcp_conn.h"

static const char *const counter_names[TCP_COUNTERS] = {
    [TCP_SEGMENTS_IN] = "segments from the guest",
    [TCP_SEGMENTS_OUT] = "segments to the guest",
    [TCP_BYTES_IN] = "bytes from the guest",
    [TCP_BYTES_OUT] = "bytes to the guest",
    [TCP_CONNECTS] = "connections made by the guest",
    [TCP_FORWARDS] = "connections forwarded to it",
    [TCP_RETRANSMITS] = "segments sent again",
    [TCP_BUSY] = "times the card had no room",
    [TCP_RESETS_IN] = "resets by the guest",
    [TCP_RESETS_OUT] = "resets told to it",
    [TCP_BAD_HEADER] = "dropped: header",
    [TCP_BAD_CHECKSUM] = "dropped: checksum",
    [TCP_BAD_ADDRESS] = "dropped: port 0",
    [TCP_NO_CONNECTION] = "refused: no such connection",
    [TCP_OUT_OF_ORDER] = "dropped: behind a gap",
    [TCP_OUT_OF_WINDOW] = "dropped or cut: outside the window",
    [TCP_BAD_ACK] = "dropped: acknowledges what was not sent",
    [TCP_CHALLENGED] = "answered: SYN or RST that may be forged",
    [TCP_NOT_TAKEN] = "cut: no room in the host's socket",
    [TCP_REFUSED_POLICY] = "connections refused by policy",
    [TCP_REFUSED_FULL] = "connections refused: table full",
    [TCP_REFUSED_HOST] = "connections refused by the host",
};

uint64_t tcp_counter(const struct tcp *t, enum tcp_counter which)
{
    return (unsigned)which < TCP_COUNTERS ? t->counters[which] : 0;
}

unsigned tcp_connections(const struct tcp *t)
{
    return t->used;
}

/* RFC 9293, 3.3.2. CONNECTING is ours: the guest's SYN waits for the host. */
static const char *state(uint32_t f)
{
    if (f & SEND_RST)
        return "CLOSED";
    if (f & TIME_WAITING)
        return "TIME-WAIT";
    if (f & CONNECTING)
        return "CONNECTING";
    if (!(f & SYN_IN))
        return "SYN-SENT";
    if (!(f & SYN_ACKED))
        return "SYN-RECEIVED";
    if (f & FIN_IN)
        return !(f & FIN_OUT) ? "CLOSE-WAIT" : f & CLOSED_FIRST ? "CLOSING" : "LAST-ACK";
    return !(f & FIN_OUT) ? "ESTABLISHED" : f & FIN_ACKED ? "FIN-WAIT-2" : "FIN-WAIT-1";
}

static int print_end(FILE *out, const struct ip_addr *a, uint16_t port)
{
    char text[IP_ADDR_TEXT];
    ip_text(a, text);
    return fprintf(out, ip_is4(a) ? "%s:%u" : "[%s]:%u", text, port);
}

void tcp_print(const struct tcp *t, FILE *out)
{
    fprintf(out, "tcp: %u of %u connections\n", t->used, t->limit);
    if (t->used)
        fprintf(out, "  state          to guest bytes  in flight  from guest bytes  guest, peer\n");
    for (uint32_t i = 0; i < t->fresh; i++) {
        const struct tcp_conn *c = &t->conns[i];
        if (!c->t)
            continue;
        fprintf(out, "  %-13s %15llu %10u %17llu  ", state(c->flags), (unsigned long long)c->bytes_out,
                c->snd_max - c->snd_una, (unsigned long long)c->bytes_in);
        print_end(out, &c->ends.guest, c->ends.guest_port);
        fputs(c->flags & FORWARDED ? " <- " : " -> ", out);
        print_end(out, &c->ends.peer, c->ends.peer_port);
        fputc('\n', out);
    }
    for (unsigned i = 0; i < TCP_COUNTERS; i++) {
        if (t->counters[i])
            fprintf(out, "  %-40s %llu\n", counter_names[i], (unsigned long long)t->counters[i]);
    }
}
