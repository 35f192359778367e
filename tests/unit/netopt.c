// SPDX-License-Identifier: MIT
/* The words of -n: what is taken, and what is refused with a sentence that says why. */
#include "guest/netopt.h"
#include "net/ether.h"
#include "test.h"

static struct net_options one;
static bool absent;

static const char *parse(const char *text)
{
    return netopt_parse_one(text, &one, &absent);
}

TEST(netopt_defaults)
{
    CHECK(!parse(""));
    CHECK_EQ(one.mode, NET_USER);
    CHECK(one.loopback && !one.restrict_net && !one.model && !one.hub && !absent && !one.has_mac);
    CHECK_EQ(one.fd, NET_FD_NONE);
}

TEST(netopt_every_key)
{
    CHECK(!parse(
        "mode=user,model=e1000,guest_ip=10.0.2.20,host_ip=10.0.2.1,net=10.0.2.0/24,restrict,loopback=off,"
        "hostfwd=tcp::2222-:22,hostfwd=udp::53-:53,tftp=/x,pcap=a,,b,guest_mac=02:00:5e:AA:bb:01"));
    CHECK_EQ(one.hostfwd.n, 2);
    CHECK(one.restrict_net && !one.loopback && one.has_mac);
    CHECK_STR(one.pcap, "a,b");
    CHECK(!memcmp(one.mac, "\x02\x00\x5e\xaa\xbb\x01", 6));
    CHECK(!parse("mode=tap,tapif=vm0,script=/up,downscript=/down,vhost=on,mq=4,host_ip=10.1.1.1"));
    CHECK(one.vhost && one.mq == 4);
    CHECK(!parse("mode=tap,fd=5") && one.fd == 5);
    CHECK(!parse("mode=stream,path=/run/x,listen") && one.listen);
    CHECK(!parse("mode=socket,fd=7"));
    CHECK(!parse("mode=loopback,model=virtio-net") && !one.legacy);
    CHECK(!parse("legacy") && one.legacy && one.mode == NET_USER);
}

/* A hub without a mode joins the card alone; with one, what the mode brings as well. */
TEST(netopt_hub_alone_brings_no_backend)
{
    CHECK(!parse("hub=lan") && one.mode == NET_NONE && !absent);
    CHECK(!parse("hub=lan,mode=user") && one.mode == NET_USER);
}

TEST(netopt_mode_none_is_no_card_unless_a_card_is_described)
{
    CHECK(!parse("mode=none") && absent);
    CHECK(!parse("mode=none,model=e1000") && !absent && one.mode == NET_NONE);
}

TEST(netopt_keys_that_mean_nothing_in_the_mode_are_refused)
{
    static const char *const texts[][2] = {
        {"mode=tap,hostfwd=tcp::1-:1",           "hostfwd= is for mode=user"       },
        {"tapif=x",                              "tapif= is for mode=tap"          },
        {"mode=loopback,fd=4",                   "fd= is for mode=tap or socket"   },
        {"mode=user,path=/x",                    "path= is for mode=stream"        },
        {"mode=stream,path=/x,vhost",            "vhost= is for mode=tap"          },
        {"mode=none,host_ip=1.2.3.4",            "host_ip= is for mode=user or tap"},
        {"hub=lan,net=10.0.0.0/8",               "net= is for mode=user"           },
        {"mode=stream",                          "needs path="                     },
        {"mode=socket",                          "needs fd="                       },
        {"mode=socket,fd=2",                     "standard stream"                 },
        {"mode=tap,fd=4,script=/x",              "script= with fd="                },
        {"mode=tap,tapif=a_name_beyond_fifteen", "no interface's name"             },
        {"mode=tap,tapif=a/b",                   "no interface's name"             },
        {"mode=tap,tapif=tap%d",                 "no interface's name"             },
        {"mode=stream,path=",                    "path= takes"                     },
        {"hub=",                                 "hub= takes"                      },
        {"pcap=",                                "pcap= needs"                     },
        {"mode=tap,mq=0",                        "mq=0"                            },
        {"mode=tap,mq=9",                        "mq=9"                            },
        {"mode=bridge",                          "use tap"                         },
        {"mode=junk",                            "must be one of"                  },
        {"junk=1",                               "no such key"                     },
        {"host_mac=02:00:00:00:00:01",           "host_mac"                        },
        {"trans=mmio",                           "PCI"                             },
        {"mode=tap,mode=user",                   "mode"                            },
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *error = parse(texts[i][0]);
        if (!error || !strstr(error, texts[i][1]))
            printf("%s: %s\n", texts[i][0], error ? error : "taken");
        CHECK(error && strstr(error, texts[i][1]));
    }
}

TEST(netopt_addresses_that_are_none_are_refused)
{
    static const char *const bad[] = {"",
                                      "02:00:00:00:00",
                                      "02:00:00:00:00:00:01",
                                      "02:00:00:00:00:0",
                                      "02:00:00:00:00:gg",
                                      "02-00-00-00-00-01",
                                      "01:00:00:00:00:01",
                                      "ff:ff:ff:ff:ff:ff",
                                      "00:00:00:00:00:00",
                                      "2:0:0:0:0:1"};
    uint8_t mac[6];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK(!ether_address(bad[i], mac));
    CHECK(parse("guest_mac=01:00:00:00:00:01") && strstr(parse("guest_mac=01:00:00:00:00:01"), "no card's"));
}

TEST(netopt_addresses_follow_the_name_and_the_index)
{
    uint8_t a[6], b[6];
    netopt_mac_of("web", 0, a);
    netopt_mac_of("web", 0, b);
    CHECK(!memcmp(a, b, 6) && a[0] == 2);
    for (unsigned i = 1; i < NET_CARDS_MAX; i++) {
        netopt_mac_of("web", i, b);
        CHECK(memcmp(a, b, 6));
    }
    netopt_mac_of("wec", 0, b);
    CHECK(memcmp(a + 1, b + 1, 4));
}

TEST(netopt_lists)
{
    const char *v[NET_CARDS_MAX + 2];
    struct opt_list list = {v, NET_CARDS_MAX + 1};
    struct net_options *cards;
    unsigned n;
    for (size_t i = 0; i < list.n; i++)
        v[i] = "mode=loopback";
    CHECK(netopt_parse(&list, &cards, &n)); /* too many */
    list.n = NET_CARDS_MAX;
    CHECK(!netopt_parse(&list, &cards, &n) && n == NET_CARDS_MAX);
    v[1] = "mode=none";
    CHECK(netopt_parse(&list, &cards, &n)); /* no card, and others */
    list = (struct opt_list){v + 1, 1};
    CHECK(!netopt_parse(&list, &cards, &n) && n == 0);
    list = (struct opt_list){0};
    CHECK(!netopt_parse(&list, &cards, &n) && n == 1 && cards[0].mode == NET_USER);
    opts_release();
}
