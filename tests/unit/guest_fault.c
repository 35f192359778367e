// SPDX-License-Identifier: MIT
/* Every fault with edu, and specs that are wrong: include/guest/fault.h. */
#include "test.h"
#include "guest/fault.h"
#include "see_board.h"

extern const struct device_class rng_class, pci_testdev_class;

static struct faults *faults;
static char links[256];

static const char *set_link(void *ctx, const char *id, const char *word)
{
    (void)ctx;
    snprintf(links + strlen(links), sizeof links - strlen(links), "%s %s;", id, word);
    return NULL;
}

static bool add(const char *one, const char *two)
{
    static const char *v[3];
    static struct opt_list list;
    v[0] = one;
    v[1] = two;
    list = (struct opt_list){v, two ? 2 : 1};
    links[0] = 0;
    faults = faults_new(&(struct fault_config){&m->board, &list, set_link, NULL}, m->err, sizeof m->err);
    return faults != NULL;
}

static void begin(const char *spec)
{
    see_board("edu0");
    CHECK(add(spec, NULL));
}

static bool line(void)
{
    return irq_level(m->board.irqs, edu->line.gsi);
}

static void end(void)
{
    faults_end(faults);
    faults_free(faults);
}

static char *ram(uint64_t gpa)
{
    static char buf[17];
    space_read(&m->memory, gpa, 8, buf);
    space_read(&m->memory, gpa + 8, 8, buf + 8);
    return buf;
}
/* 16 letters into RAM, from there into edu. */
static void fill(void)
{
    space_write(&m->memory, 0x1000, 8, "abcdefgh");
    space_write(&m->memory, 0x1008, 8, "ijklmnop");
    dma(0x1000, 0x40000, 16, 1);
    pass(100 * MS);
}
static void out_to(uint64_t gpa)
{
    dma(0x40000, gpa, 16, 3);
    pass(100 * MS);
}

TEST(fault_read_drop)
{
    begin("edu0:read:drop@2");
    CHECK_EQ(rd(0, 4), 0x010000ed);
    CHECK_EQ(rd(0, 4), 0xffffffff);
    CHECK_EQ(rd(0, 4), 0x010000ed);
    end();
    begin("edu0:read.STATUS:drop@1");
    CHECK_EQ(rd(0, 4), 0x010000ed);
    CHECK_EQ(rd(0x20, 4), 0xffffffff);
    CHECK_EQ(rd(0x20, 4), 0);
    end();
}

TEST(fault_write_drop_and_double)
{
    begin("edu0:write.LIVENESS:drop@2");
    wr(0x04, 1, 4);
    wr(0x20, 0x80, 4); /* another register's is not counted */
    wr(0x04, 2, 4);
    CHECK_EQ(rd(0x04, 4), ~1u);
    wr(0x04, 3, 4);
    CHECK_EQ(rd(0x04, 4), ~3u);
    end();
    begin("edu0:write.INTR_RAISE:double@1");
    msi_on(33);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 2);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 3);
    end();
}

TEST(fault_bar)
{
    begin("edu0:bar0:drop@3");
    rd(0, 4);
    wr(0x04, 1, 4);
    CHECK_EQ(rd(0, 4), 0xffffffff);
    CHECK_EQ(rd(0, 4), 0x010000ed);
    end();
}

TEST(fault_irq_drop)
{
    begin("edu0:irq:drop@2");
    wr(0x60, 1, 4);
    CHECK(line());
    wr(0x64, 1, 4);
    wr(0x60, 1, 4);
    CHECK(!line());
    CHECK_EQ(rd(0x24, 4), 1); /* the device thinks it was sent */
    wr(0x64, 1, 4);
    wr(0x60, 1, 4);
    CHECK(line());
    end();
}

TEST(fault_irq_double)
{
    begin("edu0:irq.0:double@2");
    msi_on(40);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 1);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 3);
    CHECK_EQ(m->fake.log[2].data, 40);
    end();
    begin("edu0:irq.1:double@1"); /* another vector */
    msi_on(40);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 1);
    end();
}

TEST(fault_irq_spurious)
{
    begin("edu0:irq:spurious@1");
    wr(0x60, 1, 4);
    CHECK_EQ(rd(0x24, 4), 1);
    wr(0x64, 1, 4);
    CHECK(line()); /* for nothing */
    CHECK_EQ(rd(0x24, 4), 0);
    CHECK(!line());
    wr(0x60, 1, 4);
    wr(0x64, 1, 4);
    CHECK(!line());
    end();
    begin("edu0:irq:spurious@1");
    msi_on(33);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 2);
    end();
}

TEST(fault_spurious_at_an_access)
{
    begin("edu0:write.FACTORIAL:spurious@2");
    wr(0x08, 1, 4);
    pass(2 * MS);
    CHECK(!line());
    wr(0x08, 1, 4);
    CHECK(line());
    CHECK_EQ(rd(0x24, 4), 0);
    CHECK(!line());
    end();
}

TEST(fault_irq_delay)
{
    begin("edu0:irq:delay@1");
    msi_on(33);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 0);
    pass(FAULT_LATE - 1);
    CHECK_EQ(m->fake.sent, 0);
    pass(1);
    CHECK_EQ(m->fake.sent, 1);
    wr(0x60, 1, 4);
    CHECK_EQ(m->fake.sent, 2);
    end();
    begin("edu0:irq:delay@1"); /* a line whose cause went away meanwhile does not come up */
    wr(0x60, 1, 4);
    CHECK(!line());
    wr(0x64, 1, 4);
    pass(FAULT_LATE);
    CHECK(!line());
    wr(0x60, 1, 4);
    CHECK(line());
    end();
    begin("edu0:irq:delay@1");
    wr(0x60, 1, 4);
    pass(FAULT_LATE);
    CHECK(line());
    end();
}

/* What was late when the device was pulled out does not come any more. */
TEST(fault_late_things_of_a_device_that_is_gone)
{
    see_board("edu0");
    CHECK(add("edu0:irq:delay@1", "edu0:read:ones@1"));
    msi_on(33);
    wr(0x60, 1, 4);
    CHECK_EQ(rd(0, 4), 0xffffffff);
    pass(FAULT_LATE);
    CHECK_EQ(m->fake.sent, 0);
    end();
    see_board("edu0");
    CHECK(add("edu0:dma.w:delay@1", "edu0:read:ones@1"));
    fill();
    out_to(0x2000);
    CHECK_EQ(rd(0, 4), 0xffffffff);
    pass(FAULT_LATE);
    CHECK(strncmp(ram(0x2000), "abcd", 4) != 0);
    end();
}

TEST(fault_dma_drop_and_fail)
{
    begin("edu0:dma.w:drop@1");
    fill();
    out_to(0x2000);
    CHECK(!*ram(0x2000));
    CHECK_EQ(atomic_load(&edu->dma.refused_ram), 0);
    out_to(0x2000);
    CHECK_STR(ram(0x2000), "abcdefghijklmnop");
    end();
    begin("edu0:dma:drop@1"); /* what gets lost on the way in is ones */
    fill();
    out_to(0x2000);
    CHECK(!memcmp(ram(0x2000), "\xff\xff\xff\xff\xff\xff\xff\xff", 8));
    end();
    begin("edu0:dma:fail@2");
    uint64_t bugs = log_guest_bugs();
    fill();
    out_to(0x2000);
    CHECK(!*ram(0x2000));
    CHECK_EQ(log_guest_bugs(), bugs); /* no guest did that */
    out_to(0x2000);
    CHECK_STR(ram(0x2000), "abcdefghijklmnop");
    end();
    begin("edu0:dma:double@1");
    fill();
    out_to(0x2000);
    CHECK_STR(ram(0x2000), "abcdefghijklmnop");
    end();
}

TEST(fault_dma_delay)
{
    begin("edu0:dma:delay@1");
    fill(); /* reading RAM is not counted */
    dma(0x40000, 0x2000, 16, 7);
    now_ns += 100 * MS;
    loop_step(m->board.loop);
    CHECK(line()); /* done, says the device */
    CHECK(!*ram(0x2000));
    pass(FAULT_LATE - 1);
    CHECK(!*ram(0x2000));
    pass(1);
    CHECK_STR(ram(0x2000), "abcdefghijklmnop");
    end();
    begin("edu0:dma:delay@1"); /* bus mastering is off by then */
    fill();
    out_to(0x2000);
    cf8_write(edu->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    pass(FAULT_LATE);
    CHECK(!*ram(0x2000));
    end();
    begin("edu0:dma:delay@1"); /* the machine ends first */
    fill();
    out_to(0x2000);
    end();
}

TEST(fault_ones)
{
    begin("edu0:read:ones@3");
    wr(0x60, 1, 4);
    CHECK(line());
    rd(0, 4);
    rd(0, 4);
    CHECK_EQ(rd(0, 4), 0xffffffff);
    CHECK(!line());
    CHECK_EQ(rd(0x24, 4), 0xffffffff);
    CHECK_EQ(cf8(0, edu->devfn, 0, 4), 0xffffffff);
    CHECK_EQ(cf8(0, edu->devfn, 0x3c, 1), 0xff);
    wr(0x60, 1, 4);
    CHECK(!line());
    dma(0x1000, 0x40000, 16, 5);
    cf8_write(edu->devfn, PCI_COMMAND, 0, 2);
    CHECK_EQ(edu->config[PCI_COMMAND], PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pass(200 * MS);
    CHECK(!line());
    end();
}

TEST(fault_ones_while_something_is_under_way)
{
    begin("edu0:dma:ones@1");
    wr(0x20, 0x80, 4);
    wr(0x08, 5, 4);
    dma(0x1000, 0x40000, 16, 5);
    pass(100 * MS);
    CHECK(!line());
    CHECK_EQ(rd(0, 4), 0xffffffff);
    end();
}

TEST(fault_ones_of_one_register)
{
    begin("edu0:read.STATUS:ones@2");
    CHECK_EQ(rd(0x20, 4), 0);
    CHECK_EQ(rd(0x20, 4), 0xffffffff);
    CHECK_EQ(rd(0x20, 4), 0xffffffff);
    CHECK_EQ(rd(0, 4), 0x010000ed);
    wr(0x60, 1, 4);
    CHECK(line());
    end();
}

TEST(fault_link)
{
    begin("edu0:link:flap@2");
    rd(0, 4);
    pass(0);
    CHECK_STR(links, "");
    rd(0, 4);
    pass(0);
    CHECK_STR(links, "edu0 down;");
    pass(FAULT_FLAP - 1);
    CHECK_STR(links, "edu0 down;");
    pass(1);
    CHECK_STR(links, "edu0 down;edu0 up;");
    rd(0, 4);
    pass(10 * FAULT_FLAP);
    CHECK_STR(links, "edu0 down;edu0 up;");
    end();
    begin("edu0:link:drop@1");
    rd(0, 4);
    pass(10 * FAULT_FLAP);
    CHECK_STR(links, "edu0 down;");
    end();
}

TEST(faults_of_one_device_together)
{
    see_board("edu0");
    CHECK(add("edu0:read:drop@2", "edu0:irq:drop@1"));
    rd(0, 4);
    wr(0x60, 1, 4);
    CHECK(!line());
    CHECK_EQ(rd(0, 4), 0xffffffff);
    end();
}

static void run_end(void)
{
    faults_end(faults);
}

TEST(faults_that_did_not_come)
{
    see_board("edu0");
    CHECK(add("edu0:read:drop@3", "edu0:irq:drop@1"));
    log_set_level(LOG_LEVEL_WARNING);
    rd(0, 4);
    wr(0x60, 1, 4);
    CHECK_STR(said(run_end), "vmlet: fault: edu0:read:drop@3: it did not come to that (1 such events)\n");
    faults_free(faults);
}

TEST(fault_look_counts_a_row_once)
{
    begin("edu0:look:drop@3");
    CHECK_EQ(rd(0, 4), 0x010000ed);
    CHECK_EQ(rd(0x20, 4), 0);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(rd(0x20, 4), 0);
    CHECK_EQ(rd(0, 4), 0xffffffff);
    CHECK_EQ(rd(0, 4), 0x010000ed);
    end();
    begin("edu0:look:drop@2");
    CHECK_EQ(rd(0, 4), 0x010000ed);
    wr(0x04, 1, 4); /* what follows a write is another look */
    CHECK_EQ(rd(0, 4), 0xffffffff);
    end();
}

TEST(fault_count)
{
    char text[128];
    see_board("edu0");
    CHECK(add("edu:irq:count", "edu0:read:drop@2"));
    for (int i = 0; i < 3; i++) {
        wr(0x60, 1, 4);
        CHECK(line());
        wr(0x64, 1, 4);
    }
    rd(0, 4);
    faults_counts(faults, text, sizeof text);
    CHECK_STR(text, "fault=edu:irq:count 3\nfault=edu0:read:drop@2 1\n");
    faults_counts(faults, text, 30);
    CHECK_STR(text, "fault=edu:irq:count 3\n"); /* whole lines */
    faults_counts(faults, text, 5);
    CHECK_STR(text, "");
    end();
}

/* Hostile strings: one line, and nothing is watched. */
/* A kick that an ioeventfd would take is an access like others: counted, and lost when its turn comes. */
TEST(fault_sees_what_ioeventfds_would_take)
{
    see_board("edu0");
    struct pci_device *testdev =
        (struct pci_device *)device_new(&m->board, &pci_testdev_class, "t", NULL, m->err, sizeof m->err);
    CHECK(testdev && placed());
    cf8_write(testdev->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    uint64_t at = cf8(0, testdev->devfn, 0x10, 4) & ~15u;
    CHECK(add("t:write.HIT:drop@2", NULL));
    uint32_t count = 0;
    space_write(&m->memory, at, 1, (uint8_t[]){1}); /* the test with an ioeventfd for any value */
    for (unsigned i = 0; i < 3; i++)
        space_write(&m->memory, at + 2049, 1, (uint8_t[]){0xce});
    space_read(&m->memory, at + 12, 4, &count);
    CHECK_EQ(count, 2);
    end();
}

/* Devices of every bus that has functions of PCI behind it, not of one alone. */
TEST(fault_of_a_virtio_device)
{
    static const char *const specs[] = {"rng:irq:drop@1", "rng:bar4:drop@1", "rng:read:ones@3", NULL};
    for (unsigned i = 0; specs[i]; i++) {
        see_board("edu0");
        CHECK(device_new(&m->board, &rng_class, "rng", NULL, m->err, sizeof m->err));
        CHECK(add(specs[i], NULL));
        end();
    }
}

/* The registers of virtio stand in a BAR side by side, each kind in a page of its own. */
TEST(fault_of_a_bar_of_several_banks)
{
    see_board("edu0");
    struct pci_device *rng =
        (struct pci_device *)device_new(&m->board, &rng_class, "rng", NULL, m->err, sizeof m->err);
    CHECK(rng && placed());
    CHECK(add("rng:bar4:drop@2", NULL));
    cf8_write(rng->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    uint64_t at = cf8(0, rng->devfn, PCI_BAR0 + 16, 4) & ~15u, value = 0;
    for (unsigned i = 0; i < 3; i++) { /* num_queues */
        space_read(&m->memory, at + 18, 2, &value);
        CHECK_EQ(value, i == 1 ? 0xffff : 1);
    }
    end();
}

/* A BAR in which nothing could ever be counted. */
TEST(fault_of_a_bar_without_registers)
{
    see_board("edu0");
    CHECK(device_new(&m->board, &rng_class, "rng", NULL, m->err, sizeof m->err));
    CHECK(!add("rng:bar1:drop@1", NULL)); /* the MSI-X table */
    CHECK(strstr(m->err, "rng has no registers in BAR 1"));
}

TEST(fault_specs_that_are_wrong)
{
    static const struct {
        const char *spec, *error;
    } cases[] = {
        {"",                                   "not ID:EVENT"                      },
        {":",                                  "not ID:EVENT"                      },
        {"::",                                 "there is no device ``"             },
        {":::",                                "not ID:EVENT"                      },
        {"edu0",                               "not ID:EVENT"                      },
        {"edu0:irq",                           "not ID:EVENT"                      },
        {"edu0:irq:drop@1:",                   "not ID:EVENT"                      },
        {"edu0:irq:drop@1:x",                  "not ID:EVENT"                      },
        {"edu1:irq:drop@1",                    "there is no device `edu1`"         },
        {"edu0::drop@1",                       "there is no event ``"              },
        {"edu0:.:drop@1",                      "there is no event ``"              },
        {"edu0:ir:drop@1",                     "there is no event `ir`"            },
        {"edu0:irqs:drop@1",                   "there is no event `irqs`"          },
        {"edu0:bar:drop@1",                    "there is no event `bar`"           },
        {"edu0:bar6:drop@1",                   "there is no event `bar6`"          },
        {"edu0:bar1:drop@1",                   "edu0 has no BAR 1"                 },
        {"edu0:bar0.x:drop@1",                 ".x: this event has no argument"    },
        {"edu0:link.x:flap@1",                 ".x: this event has no argument"    },
        {"edu0:read.NONE:drop@1",              ".NONE: edu0 has no such register"  },
        {"edu0:read.:drop@1",                  ".: edu0 has no such register"      },
        {"edu0:read.STATUS[0]:drop@1",         "has no such register"              },
        {"edu0:dma.x:drop@1",                  ".x: r or w"                        },
        {"edu0:dma.:drop@1",                   ".: r or w"                         },
        {"edu0:dma.r:delay@1",                 "cannot come late"                  },
        {"edu0:irq.128:drop@1",                "not an interrupt vector"           },
        {"edu0:irq.-1:drop@1",                 "not an interrupt vector"           },
        {"edu0:irq.:drop@1",                   "not an interrupt vector"           },
        {"edu0:irq:drop",                      "which one?"                        },
        {"edu0:irq:@1",                        "there is no action ``"             },
        {"edu0:irq:flop@1",                    "there is no action `flop`"         },
        {"edu0:irq:fail@1",                    "fail does not go with that event"  },
        {"edu0:read:delay@1",                  "delay does not go with that event" },
        {"edu0:read:flap@1",                   "flap does not go with that event"  },
        {"edu0:link:double@1",                 "double does not go with that event"},
        {"edu0:irq:drop@",                     "@: not a count"                    },
        {"edu0:irq:drop@0",                    "@0: not a count"                   },
        {"edu0:irq:drop@-1",                   "@-1: not a count"                  },
        {"edu0:irq:drop@+1",                   "@+1: not a count"                  },
        {"edu0:irq:drop@1x",                   "@1x: not a count"                  },
        {"edu0:irq:drop@18446744073709551616", "not a count"                       },
        {"edu0:irq:count@1",                   "count goes without @K"             },
        {"edu0:look.ID:drop@1",                "this event has no argument"        },
        {"ed:irq:drop@1",                      "there is no device `ed`"           },
        {"edu0:irq:drop@1@2",                  "not a count"                       },
        {"edu0:%s%n%n:drop@1",                 "there is no event `%s%n%n`"        },
        {"0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890:irq:"
         "drop@1",                    "not ID:EVENT"                      },
    };
    see_board("edu0");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (add(cases[i].spec, NULL) || strncmp(m->err, "--fault ", 8) || !strstr(m->err, cases[i].error) ||
            strchr(m->err, '\n'))
            printf("%s: %s\n", cases[i].spec, m->err);
        CHECK(!strncmp(m->err, "--fault ", 8) && strstr(m->err, cases[i].error));
        CHECK(!edu->dev.watch);
    }
    CHECK(!add("edu0:irq:drop@1", "edu0:irq"));
    CHECK(!edu->dev.watch);
    CHECK(add("edu0:irq:drop@18446744073709551615", "edu0:read.DMA_CMD:drop@0x10"));
    faults_free(faults);
}

/* Random bytes and random cuts of a good one are refused or taken, and neither crashes. */
TEST(fault_specs_at_random)
{
    static const char alphabet[] = "edu0:.@irqbardmslnkpoutfc1289[]-%\x80\xff\n ";
    uint64_t seed = 7;
    see_board("edu0");
    for (unsigned long n = test_scale(3000); n; n--) {
        char spec[64] = "edu0:read.STATUS:spurious@12";
        size_t len = strlen(spec);
        for (unsigned i = 0; i < 1 + n % 4; i++)
            spec[test_rand(&seed) % len] = alphabet[test_rand(&seed) % (sizeof alphabet - 1)];
        if (n % 3 == 0)
            spec[test_rand(&seed) % len] = 0;
        m->err[0] = 0;
        struct opt_list list = {
            (const char *[]){spec, NULL},
              1
        };
        struct faults *all =
            faults_new(&(struct fault_config){&m->board, &list, NULL, NULL}, m->err, sizeof m->err);
        CHECK(all || !strncmp(m->err, "--fault ", 8));
        if (all) { /* it is on the device for good: take another board */
            see_board("edu0");
            faults_free(all);
        }
    }
}
