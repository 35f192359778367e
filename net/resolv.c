// SPDX-License-Identifier: MIT
/* The host's resolvers: the nameserver lines of its resolv.conf (resolv.conf(5)).
 *
 * The file is looked at (one stat) whenever a resolver is wanted, and read again when it is another than the one that
 * was read: network managers replace it, by rename or by turning a symbolic link, which a watch on it would miss. A file that
 * is missing or names nobody means the resolver on this host, as in the C library. It is read to a bound, and what is
 * not understood in it is skipped. */
#include <fcntl.h>
#include <net/if.h>
#include <sys/stat.h>
#include <unistd.h>

#include "net/user_priv.h"

enum {
    FILE_MAX = 16 * 1024,
    DNS_PORT = 53,
};

void resolv_init(struct resolv *r, const struct user_options *o)
{
    snprintf(r->path, sizeof r->path, "%s", o->resolv_conf ? o->resolv_conf : "/etc/resolv.conf");
    r->port = o->dns_port ? o->dns_port : DNS_PORT;
    r->stamp[0] = -1; /* no file has this device */
    resolv_check(r);
}

static void add(struct resolv *r, const char *text)
{
    char copy[64], *scope;
    struct ip_addr a;
    snprintf(copy, sizeof copy, "%s", text);
    if ((scope = strchr(copy, '%')))
        *scope++ = 0;
    if (r->n == RESOLVERS_MAX || !ip_parse(copy, &a))
        return;
    struct ip_sock s = ip_sock(&a, r->port);
    if (scope && s.sa.sa_family == AF_INET6)
        s.in6.sin6_scope_id = if_nametoindex(scope);
    r->at[r->n++] = s;
}

static void parse(struct resolv *r, char *text)
{
    char *save_line, *line = strtok_r(text, "\n", &save_line);
    r->n = r->first = 0;
    for (; line; line = strtok_r(NULL, "\n", &save_line)) {
        char *save, *word = strtok_r(line, " \t\r", &save);
        if (word && !strcmp(word, "nameserver") && (word = strtok_r(NULL, " \t\r", &save)))
            add(r, word);
    }
    if (r->n == 0)
        add(r, "127.0.0.1");
}

bool resolv_check(struct resolv *r)
{
    static char text[FILE_MAX + 1];
    int64_t stamp[5] = {0};
    struct stat st;
    ssize_t n = 0;
    if (stat(r->path, &st) == 0)
        memcpy(stamp,
               (int64_t[]){(int64_t)st.st_dev, (int64_t)st.st_ino, st.st_size, st.st_mtim.tv_sec,
                           st.st_mtim.tv_nsec},
               sizeof stamp);
    if (!memcmp(stamp, r->stamp, sizeof stamp))
        return false;
    memcpy(r->stamp, stamp, sizeof stamp);
    int fd = open(r->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* it might be a FIFO */
    if (fd >= 0) {
        n = read(fd, text, FILE_MAX);
        close(fd);
    }
    if (n == FILE_MAX) /* the line that was cut is none */
        while (n > 0 && text[n - 1] != '\n')
            n--;
    text[n > 0 ? n : 0] = 0;
    parse(r, text);
    return true;
}

struct ip_sock resolv_first(struct resolv *r)
{
    resolv_check(r);
    return r->at[r->first];
}
