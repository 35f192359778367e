// SPDX-License-Identifier: MIT
/* Addresses of both families as 16 bytes: see include/net/ip.h. */
#include <arpa/inet.h>
#include <string.h>

#include "net/ip.h"

struct ip_addr ip_addr4(const uint8_t bytes[4])
{
    struct ip_addr a = {
        {[10] = 0xff, [11] = 0xff}
    };
    memcpy(a.b + 12, bytes, 4);
    return a;
}

struct ip_addr ip_addr6(const uint8_t bytes[16])
{
    struct ip_addr a;
    memcpy(a.b, bytes, 16);
    return a;
}

bool ip_in(const struct ip_addr *a, const struct ip_addr *net, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a->b, net->b, whole))
        return false;
    return !rest || !((a->b[whole] ^ net->b[whole]) >> (8 - rest));
}

bool ip_parse(const char *text, struct ip_addr *a)
{
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1)
        *a = ip_addr4(bytes);
    else if (inet_pton(AF_INET6, text, bytes) == 1)
        *a = ip_addr6(bytes);
    else
        return false;
    return true;
}

const char *ip_text(const struct ip_addr *a, char text[IP_ADDR_TEXT])
{
    text[0] = 0;
    if (ip_is4(a))
        inet_ntop(AF_INET, a->b + 12, text, IP_ADDR_TEXT);
    else
        inet_ntop(AF_INET6, a->b, text, IP_ADDR_TEXT);
    return text;
}

struct ip_sock ip_sock(const struct ip_addr *a, uint16_t port)
{
    struct ip_sock s = {0};
    if (ip_is4(a)) {
        s.len = sizeof s.in;
        s.in.sin_family = AF_INET;
        s.in.sin_port = htons(port);
        memcpy(&s.in.sin_addr, a->b + 12, 4);
    } else {
        s.len = sizeof s.in6;
        s.in6.sin6_family = AF_INET6;
        s.in6.sin6_port = htons(port);
        memcpy(&s.in6.sin6_addr, a->b, 16);
    }
    return s;
}

bool ip_of_sock(const struct sockaddr *sa, struct ip_addr *a, uint16_t *port)
{
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, sa, sizeof in);
        *a = ip_addr4((const uint8_t *)&in.sin_addr);
        *port = ntohs(in.sin_port);
        return true;
    }
    if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, sa, sizeof in6);
        *a = ip_addr6((const uint8_t *)&in6.sin6_addr);
        *port = ntohs(in6.sin6_port);
        return true;
    }
    return false;
}
