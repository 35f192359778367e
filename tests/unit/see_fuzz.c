// SPDX-License-Identifier: MIT
/* A board full of devices, with traces, lint and faults on them in combinations that nobody would choose, and a guest that
 * writes anything anywhere: registers, configuration space, BARs that move meanwhile. Nothing is wanted of it but that it goes on,
 * and that all of it can be shown, saved, loaded and taken down. */
#include "test.h"
#include "e1000_board.h"
#include "guest/fault.h"
#include "guest/lint.h"
#include "guest/trace.h"
#include "pci/dump.h"

#include <fcntl.h>

extern const struct device_class edu_class, pci_testdev_class, ivshmem_class, rng_class;

static const struct {
    const struct device_class *class;
    const char *id, *options;
} makings[] = {
    {&e1000_class,       "net0", NULL            },
    {&edu_class,         "edu0", NULL            },
    {&edu_class,         "edu1", "dma_mask=0xfff"},
    {&pci_testdev_class, "test", NULL            },
    {&ivshmem_class,     "shm",  "size=64K"      },
    {&rng_class,         "rng",  NULL            },
};
enum {
    DEVICES = sizeof makings / sizeof *makings,
};
static struct pci_device *devs[DEVICES];
static uint64_t seed;

static uint64_t dice(uint64_t n)
{
    return test_rand(&seed) % n;
}
#define ONE_OF(list_) (list_)[dice(sizeof(list_) / sizeof *(list_))]

static const char *set_link(void *ctx, const char *id, const char *word)
{
    (void)ctx;
    if (strcmp(id, "net0") != 0)
        return "no such card";
    e1000_set_link(&devs[0]->dev, !strcmp(word, "up"));
    return NULL;
}

static void end_board(void)
{
    if (!peer.port.ops)
        return;
    devices_free(&m->board);
    port_free(&peer.port);
    for (unsigned i = 0; i < KEPT; i++)
        free(peer.frames[i].bytes);
    memset(&peer, 0, sizeof peer);
}

static void make_board(void)
{
    end_board();
    log_set_level(LOG_LEVEL_ERROR);
    machine_new();
    loop_free(m->board.loop);
    m->board.loop = loop_new(&test_clock);
    net_init(&peer.net, m->board.loop);
    m->board.net = &peer.net;
    for (unsigned i = 0; i < DEVICES; i++) {
        devs[i] = (struct pci_device *)device_new(&m->board, makings[i].class, makings[i].id,
                                                  makings[i].options, m->err, sizeof m->err);
        if (!devs[i])
            printf("%s\n", m->err);
        CHECK(devs[i]);
    }
    CHECK(placed());
    CHECK(port_init(&peer.port, &peer.net, "peer", &peer_ops));
    port_connect(e1000_port(&devs[0]->dev), &peer.port);
}

/* --- who watches */

static struct faults *some_faults(void)
{
    static const char *const ids[] = {"net0", "edu0", "edu1", "test", "shm", "rng"};
    static const char *const events[] = {"read", "write", "look",  "bar0", "bar1",  "bar2",  "bar4",
                                         "dma",  "dma.r", "dma.w", "irq",  "irq.0", "irq.1", "link"};
    static const char *const actions[] = {"drop", "double", "spurious", "ones", "fail", "delay", "flap"};
    static char text[3][80];
    static const char *v[4];
    static struct opt_list list;
    list = (struct opt_list){v, 0};
    for (unsigned i = 0; i < dice(4); i++) {
        struct faults *one;
        do { /* one that is taken: each is tried on a board of its own, the next */
            snprintf(text[i], sizeof text[i], "%s:%s:%s@%u", ONE_OF(ids), ONE_OF(events), ONE_OF(actions),
                     1 + (unsigned)dice(200));
            v[0] = text[i];
            list.n = 1;
            one = faults_new(&(struct fault_config){&m->board, &list, set_link, NULL}, m->err, sizeof m->err);
        } while (!one);
        make_board();
        faults_free(one); /* after the last access of the devices that had them */
        list.n = i + 1;
    }
    for (unsigned i = 0; i < list.n; i++)
        v[i] = text[i];
    return list.n
               ? faults_new(&(struct fault_config){&m->board, &list, set_link, NULL}, m->err, sizeof m->err)
               : NULL;
}

static struct trace *some_trace(void)
{
    static const char *const lists[] = {"all",     "edu,e1000", "pci,irq",       "mem",
                                        "dma,rng", "test,shm",  "edu0,edu0,edu1"};
    static const char *v[2];
    struct opt_list list = {v, 1};
    if (!dice(4))
        return NULL;
    v[0] = ONE_OF(lists);
    int fd = open("/dev/null", O_WRONLY);
    struct trace *t = trace_new(&(struct trace_config){.board = &m->board,
                                                       .list = &list,
                                                       .file = dice(2) ? "/dev/null" : NULL,
                                                       .text_fd = fd,
                                                       .ring = 4096 << dice(4)},
                                m->err, sizeof m->err);
    CHECK(t);
    close(fd);
    return t;
}

/* --- what the guest does */

static uint64_t any_value(void)
{
    static const uint64_t values[] = {
        0,       1,       2,          7,          0x80,       0xfff,           0x1000,     0x10000,
        0x40000, 0xfffff, 0xfee00000, 0xffffffff, UINT64_MAX, UINT64_MAX - 15, 0x7fffffff, 0x40fff};
    return dice(3) ? ONE_OF(values) : test_rand(&seed);
}

static unsigned any_offset(unsigned d)
{
    static const unsigned edu[] = {0, 4, 8, 0x20, 0x24, 0x60, 0x64, 0x80, 0x88, 0x90, 0x98, 0x98};
    static const unsigned e1000[] = {CTRL, STATUS, EECD, EERD,   CTRL_EXT, MDIC, ICR, ITR,  ICS,   IMS,
                                     IMC,  RCTL,   TCTL, RDBAL,  RDLEN,    RDH,  RDT, RDTR, TDBAL, TDLEN,
                                     TDH,  TDT,    TIDV, TXDCTL, RXCSUM,   MTA,  RA,  VFTA};
    if (!dice(6))
        return (unsigned)dice(0x20010);
    return makings[d].class == &edu_class     ? ONE_OF(edu)
           : makings[d].class == &e1000_class ? ONE_OF(e1000)
                                              : (unsigned)dice(0x40);
}

static void access_bar(unsigned d)
{
    unsigned number = (unsigned)dice(PCI_BARS), size = 1u << dice(4);
    const struct pci_bar *b = &devs[d]->bars[number];
    uint64_t v = any_value();
    if (!b->region)
        return;
    const uint8_t *c = devs[d]->config + (number == PCI_ROM ? PCI_ROM_BASE : PCI_BAR0 + 4 * number);
    uint64_t at = any_offset(d) + (pci_get32(c) & ~15u);
    if (b->kind == PCI_BAR_MEM64 || b->kind == PCI_BAR_MEM64_PREFETCH)
        at += (uint64_t)pci_get32(c + 4) << 32;
    struct space *s = b->kind == PCI_BAR_IO ? &m->io : &m->memory;
    if (b->kind == PCI_BAR_IO)
        at &= 0xffff;
    if (dice(3))
        space_write(s, at, size, &v);
    else
        space_read(s, at, size, &v);
}

static void access_config(unsigned d)
{
    unsigned reg = (unsigned)dice(dice(4) ? 0x80 : 0x1000), size = 1u << dice(3);
    uint8_t *c = devs[d]->config;
    uint8_t bars[28];
    memcpy(bars, c + PCI_BAR0, sizeof bars);
    if (dice(2))
        dice(2) ? cf8_write(devs[d]->devfn, reg & 0xff, (uint32_t)any_value(), size)
                : ecam_write(devs[d]->devfn, reg, (uint32_t)any_value(), size);
    else
        dice(2) ? cf8(0, devs[d]->devfn, reg & 0xff, size) : ecam(0, devs[d]->devfn, reg, size);
    if (dice(8)) { /* else where nobody finds it */
        for (unsigned i = 0; i < 6; i++)
            cf8_write(devs[d]->devfn, PCI_BAR0 + 4 * i, pci_get32(bars + 4 * i), 4);
        cf8_write(devs[d]->devfn, PCI_COMMAND,
                  PCI_COMMAND_MEMORY | PCI_COMMAND_IO | (dice(8) ? PCI_COMMAND_MASTER : 0), 2);
    }
}

static void host(unsigned d)
{
    static char state[1 << 16];
    FILE *out = fopen("/dev/null", "w");
    size_t n;
    switch (dice(6)) {
    case 0:
        device_dump(&devs[d]->dev, out);
        break;
    case 1:
        device_stats(&devs[d]->dev, out);
        break;
    case 2:
        device_reset(&devs[d]->dev);
        break;
    case 3:
    case 4:
        n = device_save(&devs[d]->dev, state, sizeof state);
        CHECK(n <= sizeof state);
        if (n && !dice(3))
            state[dice(n)] ^= (char)(1 << dice(8));
        (void)!device_load(&devs[d]->dev, state, dice(4) ? n : dice(n + 1));
        break;
    default:
        set_link(NULL, "net0", dice(2) ? "up" : "down");
    }
    fclose(out);
}

static void one_guest(unsigned long steps)
{
    static uint8_t noise[65536];
    make_board();
    struct faults *faults = some_faults();
    struct trace *trace = some_trace();
    struct lint *lint =
        dice(2) ? lint_new(&(struct lint_config){.board = &m->board}, m->err, sizeof m->err) : NULL;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (uint8_t)test_rand(&seed);
    ram_put(0, noise, sizeof noise);
    while (steps--) {
        unsigned d = (unsigned)dice(DEVICES), what = (unsigned)dice(64);
        if (what < 50)
            access_bar(d);
        else if (what < 57)
            access_config(d);
        else if (what < 60)
            pass(dice(4) ? dice(2 * US) : dice(200 * 1000 * US));
        else if (what < 62)
            give(noise, 14 + dice(9000));
        else if (what == 62)
            host(d);
        else
            ram_put(dice(16) << 12, noise + dice(60000), 4096);
    }
    pass(1000000000);
    for (unsigned d = 0; d < DEVICES; d++)
        device_reset(&devs[d]->dev);
    if (lint)
        lint_end(lint);
    if (faults)
        faults_end(faults);
    if (trace)
        trace_drain(trace, 60000000000);
    end_board();
    lint_free(lint);
    faults_free(faults);
    if (trace)
        trace_free(trace);
}

TEST(watched_devices_and_a_guest_that_does_anything)
{
    for (seed = 1; seed <= 24; seed++) {
        uint64_t first = seed;
        one_guest(test_scale(2000));
        seed = first;
    }
}
