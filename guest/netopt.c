// SPDX-License-Identifier: MIT
/* The words of `-n`: see include/guest/netopt.h. Two tables: what the keys are, and for which modes. */
#include "guest/netopt.h"

#include "net/ether.h"

#include <stdio.h>
#include <string.h>

const char *const net_mode_names[NET_MODES] = {
    [NET_NONE] = "none", [NET_LOOPBACK] = "loopback", [NET_USER] = "user",
    [NET_TAP] = "tap",   [NET_STREAM] = "stream",     [NET_SOCKET] = "socket",
};

static const struct opt_word modes[] = {
    {"none",     NET_NONE, NULL},
    {"loopback",      NET_LOOPBACK, NULL},
    {"user", NET_USER, NULL},
    {"tap",      NET_TAP, NULL},
    {"stream",     NET_STREAM, NULL},
    {"socket",      NET_SOCKET, NULL},
    {"bridge",      0, "use tap, and a script that puts it in a bridge"},
    {"passt",      0, "use mode=stream,path=SOCKET, with passt running"},
    {0  },
};

#define T struct net_options
const struct opt net_option_table[] = {
    OPT_ENUM(T, mode, "mode", 0, modes, "what the card is plugged into"),
    OPT_STRING(T, model, "model", 0, "virtio-net|e1000", "the card"),
    OPT_FLAG(T, legacy, "legacy", 0, "virtio-net: virtio 0.9.5 as well, for kernels before 4.0"),
    OPT_STRING(T, guest_mac, "guest_mac", 0, "MAC", "the card's address", .dflt = "from the guest's name"),
    OPT_STRING(T, hub, "hub", 0, "NAME", "join this hub"),
    OPT_STRING(T, pcap, "pcap", 0, "FILE", "capture the card's frames; FILE may be a FIFO"),
    OPT_STRING(T, guest_ip, "guest_ip", 0, "ADDR", "user: what DHCP gives the guest"),
    OPT_STRING(T, host_ip, "host_ip", 0, "ADDR",
               "user: the host, as the guest sees it; tap: the tap's address"),
    OPT_STRING(T, net, "net", 0, "ADDR/BITS", "user: the network"),
    OPT_LIST(T, hostfwd, "hostfwd", 0, "PROTO:[ADDR]:PORT-[ADDR]:PORT", "user: a way in"),
    OPT_FLAG(T, restrict_net, "restrict", 0, "user: nothing leaves but what is forwarded"),
    OPT_FLAG(T, loopback, "loopback", 0, "user: the host's loopback through host_ip", .dflt = "on"),
    OPT_STRING(T, tftp, "tftp", 0, "DIR", "user: read-only TFTP of this folder"),
    OPT_STRING(T, bootfile, "bootfile", 0, "FILE", "user: the file for network boot that DHCP names"),
    OPT_STRING(T, tapif, "tapif", 0, "NAME", "tap: the interface", .dflt = "a new one"),
    OPT_U32(T, fd, "fd", 0, "N", "tap, socket: an open descriptor", .max = INT32_MAX),
    OPT_STRING(T, script, "script", 0, "FILE", "tap: run it with the tap's name when that is there"),
    OPT_STRING(T, downscript, "downscript", 0, "FILE", "tap: the same at the end"),
    OPT_FLAG(T, vhost, "vhost", 0, "tap: let the host's kernel move the frames"),
    OPT_U32(T, mq, "mq", 0, "N", "tap: queue pairs", .min = 1, .max = NET_QUEUES_MAX, .dflt = "1"),
    OPT_STRING(T, path, "path", 0, "SOCKET", "stream: a Unix socket, as QEMU's stream and passt have it"),
    OPT_FLAG(T, listen, "listen", 0, "stream: be the one that waits there"),
    OPT_REFUSED("host_mac", 0, "the host's side has the address that the host gives it"),
    OPT_REFUSED("trans", 0, "virtio devices are on PCI here"),
    OPT_END,
};
#undef T

/* The modes that each key is for; one that is not here is for all. */
static const struct {
    const char *key;
    unsigned modes;
} keys[] = {
    {"guest_ip",   1 << NET_USER                 },
    {"host_ip",    1 << NET_USER | 1 << NET_TAP  },
    {"net",        1 << NET_USER                 },
    {"hostfwd",    1 << NET_USER                 },
    {"restrict",   1 << NET_USER                 },
    {"loopback",   1 << NET_USER                 },
    {"bootfile",   1 << NET_USER                 },
    {"tftp",       1 << NET_USER                 },
    {"tapif",      1 << NET_TAP                  },
    {"fd",         1 << NET_TAP | 1 << NET_SOCKET},
    {"script",     1 << NET_TAP                  },
    {"downscript", 1 << NET_TAP                  },
    {"vhost",      1 << NET_TAP                  },
    {"mq",         1 << NET_TAP                  },
    {"path",       1 << NET_STREAM               },
    {"listen",     1 << NET_STREAM               },
};

static bool has_key(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *rest = text; rest && *rest;) {
        const char *element = opts_first(rest, &rest);
        if (!strncmp(element, key, n) && (!element[n] || element[n] == '='))
            return true;
    }
    return false;
}

/* "user or tap" */
static const char *mode_list(unsigned set)
{
    const char *text = NULL;
    for (unsigned i = 0; i < NET_MODES; i++)
        if (set & 1u << i)
            text = text ? opts_say("%s or %s", text, net_mode_names[i]) : net_mode_names[i];
    return text;
}

static const char *refuse_strangers(const char *text, const struct net_options *o)
{
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!(keys[i].modes & 1u << o->mode) && has_key(text, keys[i].key))
            return opts_say("--network %s: %s= is for mode=%s, and this card has mode=%s", text, keys[i].key,
                            mode_list(keys[i].modes), net_mode_names[o->mode]);
    return NULL;
}

static const char *check_mode(const char *text, struct net_options *o)
{
    bool fd = o->fd != NET_FD_NONE;
    if (o->mode == NET_STREAM && !o->path)
        return opts_say("--network %s: mode=stream needs path=SOCKET", text);
    if (o->mode == NET_SOCKET && !fd)
        return opts_say("--network %s: mode=socket needs fd=N, an open socket", text);
    if (o->mode == NET_TAP && fd)
        for (size_t i = 0; i < 5; i++) {
            static const char *const owners[5] = {"tapif", "script", "downscript", "host_ip", "mq"};
            if (has_key(text, owners[i]))
                return opts_say("--network %s: %s= with fd=: who opened the tap has set it up", text,
                                owners[i]);
        }
    if (fd && o->fd <= 2)
        return opts_say("--network %s: fd=%u is a standard stream (pass the tap or socket as 3 or higher)",
                        text, o->fd);
    if (o->script && (!strcmp(o->script, "none") || !strcmp(o->script, "no")))
        o->script = NULL;
    if (o->downscript && (!strcmp(o->downscript, "none") || !strcmp(o->downscript, "no")))
        o->downscript = NULL;
    if (o->path && (!*o->path || strlen(o->path) > 107))
        return opts_say("--network %s: path= takes 1 to 107 characters", text);
    if (o->tapif && (!*o->tapif || strlen(o->tapif) > 15 || strpbrk(o->tapif, "/: %\t")))
        return opts_say("--network %s: tapif=%s is no interface's name (1 to 15 characters)", text, o->tapif);
    if (o->hub && (!*o->hub || strlen(o->hub) > 32))
        return opts_say("--network %s: hub= takes 1 to 32 characters", text);
    if (o->pcap && !*o->pcap)
        return opts_say("--network %s: pcap= needs a file", text);
    return NULL;
}

const char *netopt_parse_one(const char *text, struct net_options *o, bool *absent)
{
    *o = (struct net_options){.text = text, .mode = NET_USER, .fd = NET_FD_NONE, .loopback = true};
    *absent = false;
    const char *error = opts_sub(net_option_table, "--network", text, o);
    if (error)
        return error;
    if (o->hub && !has_key(text, "mode"))
        o->mode = NET_NONE;
    if ((error = refuse_strangers(text, o)) || (error = check_mode(text, o)))
        return error;
    if (o->guest_mac && !(o->has_mac = ether_address(o->guest_mac, o->mac)))
        return opts_say(
            "--network %s: guest_mac=%s is no card's address (six bytes such as 02:00:00:00:00:01, the "
            "first one even)",
            text, o->guest_mac);
    *absent = !strcmp(text, "mode=none");
    return NULL;
}

const char *netopt_parse(const struct opt_list *texts, struct net_options **cards, unsigned *n)
{
    static const char *const nothing[] = {"mode=user,model=virtio-net", NULL};
    static const struct opt_list dflt = {(const char **)(uintptr_t)nothing, 1};
    if (!texts->n)
        texts = &dflt;
    bool absent, none = false;
    *n = 0;
    *cards = opts_keep((texts->n + 1) * sizeof **cards);
    if (!*cards)
        return "--network: out of memory";
    for (size_t i = 0; i < texts->n; i++) {
        const char *error = netopt_parse_one(texts->v[i], &(*cards)[*n], &absent);
        if (error)
            return error;
        none |= absent;
        *n += !absent;
    }
    if (none && texts->n > 1)
        return "--network mode=none: says that there is no card, and there are others (drop one)";
    if (*n > NET_CARDS_MAX)
        return opts_say("--network: %u cards, and a guest has at most %d", *n, NET_CARDS_MAX);
    return NULL;
}

void netopt_mac_of(const char *guest, unsigned index, uint8_t mac[6])
{
    uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */
    for (const char *p = guest; *p; p++)
        hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
    hash ^= hash >> 32;
    mac[0] = 2;
    for (unsigned i = 1; i < 5; i++)
        mac[i] = (uint8_t)(hash >> 8 * i);
    mac[5] = (uint8_t)((hash & 0xff) + index);
}
