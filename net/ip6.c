// SPDX-License-Identifier: MIT
/* IPv6 headers, read and written (RFC 8200).
 *
 * Extension headers are walked with two bounds, the packet's end and a count; hop-by-hop and destination options may
 * be there and are ignored where their type says "skip", routing headers with segments left are refused as a whole, a
 * fragment header leads to frag.c. Everything behind the payload length is Ethernet's padding. */
#include "net/user_priv.h"

size_t ip6_header(uint8_t *h, const struct ip_out *o, size_t payload, uint32_t id, unsigned offset, bool more,
                  bool fragment)
{
    set32(h, 0x60000000);
    set16(h + 4, (uint32_t)(payload + (fragment ? IP6_FRAGMENT_HEADER : 0)));
    h[6] = fragment ? 44 : o->proto;
    h[7] = o->ttl ? o->ttl : IP_TTL_OURS;
    memcpy(h + 8, o->src.b, 16);
    memcpy(h + 24, o->dst.b, 16);
    if (!fragment)
        return IP6_HEADER;
    h[40] = o->proto;
    h[41] = 0;
    set16(h + 42, offset | more);
    set32(h + 44, id);
    return IP6_HEADER + IP6_FRAGMENT_HEADER;
}
