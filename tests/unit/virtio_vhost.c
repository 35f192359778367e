// SPDX-License-Identifier: MIT
/* vhost with a kernel that only writes down what it is asked for: a card's driver, its map, its vectors. */
#include "virtio_board.h"

#include "mem/view.h"
#include "virtio/net.h"
#include "virtio/vhost.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vhost.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    RX = 0,
    TX = 1,
    PAIRS = 2,
    ENTRY_DATA = 8,
    ENTRY_CONTROL = 12,
    MASKED = 1,
    NF_MRG = 15,
    NF_CTRL = 17,
    NF_MQ = 22,
    NF_HOST_USO = 56,
};
#define NF F_BIT(NF_MRG) | F_BIT(NF_CTRL) | F_VERSION_1

/* One vhost descriptor; which is which is known by the order in which they were opened. */
static struct kernel {
    int fd;
    bool owner;
    uint64_t features;
    unsigned regions, tables;
    struct vhost_memory_region region[VHOST_REGIONS_MAX];
    uint64_t *log;
    struct ring {
        int backend, call, kick, error;
        unsigned num, base;
        struct vhost_vring_addr addr;
        unsigned bases; /* how often it was fetched */
    } ring[2];
} kernel[PAIRS];
#define RAM_END (1u << 20)

static unsigned kernels;
static unsigned long fail_on; /* this request is refused */
static unsigned busy;         /* asked for what a ring that runs does not allow */
static uint64_t kernel_features;
static unsigned attached, offloads;

static int fake_open(void *ctx)
{
    (void)ctx;
    struct kernel *k = &kernel[kernels++];
    *k = (struct kernel){.fd = eventfd(0, EFD_CLOEXEC)};
    for (unsigned i = 0; i < 2; i++)
        k->ring[i] = (struct ring){-1, -1, -1, -1, 0, 0, {0}, 0};
    return k->fd;
}

static int ring_request(struct kernel *k, unsigned long request, void *arg)
{
    struct vhost_vring_state *state = arg; /* each begins with the index */
    struct vhost_vring_file *file = arg;
    struct ring *r = &k->ring[state->index];
    CHECK(state->index < 2);
    switch (request) {
    case VHOST_SET_VRING_NUM:
        busy += r->backend >= 0;
        r->num = state->num;
        return 0;
    case VHOST_SET_VRING_BASE:
        busy += r->backend >= 0;
        r->base = state->num;
        return 0;
    case VHOST_GET_VRING_BASE:
        busy += r->backend >= 0;
        r->bases++;
        state->num = r->base;
        return 0;
    case VHOST_SET_VRING_ADDR:
        r->addr = *(struct vhost_vring_addr *)arg;
        return 0;
    case VHOST_SET_VRING_KICK:
        r->kick = file->fd;
        return 0;
    case VHOST_SET_VRING_CALL:
        r->call = file->fd;
        return 0;
    case VHOST_SET_VRING_ERR:
        r->error = file->fd;
        return 0;
    case VHOST_NET_SET_BACKEND:
        CHECK(file->fd < 0 || (k->regions && r->num && r->call >= 0 && r->kick >= 0));
        r->backend = file->fd;
        return 0;
    default:
        return -ENOTTY;
    }
}

static int fake_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
    struct kernel *k = kernel;
    struct vhost_memory *table = arg;
    (void)ctx;
    while (k->fd != fd)
        k++;
    if (request == fail_on)
        return -EIO;
    CHECK(k->owner || request == VHOST_SET_OWNER);
    switch (request) {
    case VHOST_SET_OWNER:
        k->owner = true;
        return 0;
    case VHOST_GET_FEATURES:
        *(uint64_t *)arg = kernel_features;
        return 0;
    case VHOST_SET_FEATURES:
        k->features = *(uint64_t *)arg;
        CHECK(!(k->features >> VHOST_F_LOG_ALL & 1) || k->log);
        return k->features & ~kernel_features ? -EOPNOTSUPP : 0;
    case VHOST_SET_MEM_TABLE:
        k->tables++;
        k->regions = table->nregions;
        memcpy(k->region, table->regions, k->regions * sizeof *k->region);
        return 0;
    case VHOST_SET_LOG_BASE:
        k->log = (uint64_t *)(uintptr_t) * (uint64_t *)arg;
        return 0;
    default:
        return ring_request(k, request, arg);
    }
}
static const struct vhost_ops fake = {fake_open, fake_ioctl};

static void take_offload(void *ctx, uint8_t accepts)
{
    (void)ctx, (void)accepts;
    offloads++;
}
static bool tap_is_dead;
static bool take_alive(void *ctx)
{
    (void)ctx;
    return !tap_is_dead;
}

static bool take_attach(void *ctx, unsigned pair, bool on)
{
    (void)ctx;
    CHECK(pair && pair < PAIRS);
    CHECK(kernel[pair].ring[0].backend < 0); /* never while it receives; sending does not mind */
    attached += on ? 1 : -1u;
    return true;
}

static const struct region_ops nothing = {.sizes = 1 | 2 | 4 | 8};
static struct vhost *vh;
static int tap[PAIRS][2];
static void card(unsigned pairs)
{
    char err[256];
    struct vhost_options o = {.name = "net0",
                              .ops = &fake,
                              .pairs = pairs,
                              .offload = take_offload,
                              .attach = take_attach,
                              .alive = take_alive};
    static struct device *before; /* of the test before: the dirty log is everybody's */
    if (before)
        CHECK(virtio_net_set_vhost(before, NULL));
    kernels = busy = attached = offloads = 0;
    fail_on = 0;
    if (!kernel_features)
        kernel_features = F_BIT(NF_MRG) | F_INDIR | F_EVENT | F_VERSION_1 | F_BIT(VHOST_F_LOG_ALL);
    for (unsigned i = 0; i < pairs; i++) {
        CHECK(pipe2(tap[i], O_NONBLOCK | O_CLOEXEC) == 0);
        o.tap[i] = tap[i][0];
    }
    struct device *dev = before = vdev_new(&virtio_net_class, pairs > 1 ? "queues=2" : NULL);
    vh = vhost_new(&o, err, sizeof err);
    CHECK(vh);
    CHECK(virtio_net_set_vhost(dev, vh));
}

static bool runs(unsigned queue)
{
    return kernel[queue / 2].ring[queue % 2].backend == tap[queue / 2][0];
}
static bool stands(unsigned queue)
{
    return kernel[queue / 2].ring[queue % 2].backend == -1;
}
static void master(bool on)
{
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | (on ? PCI_COMMAND_MASTER : 0), 2);
}

TEST(vhost_serves_the_rings_of_a_driver_that_runs)
{
    card(1);
    CHECK(vd_features() & F_BIT(NF_MRG));
    CHECK(!(vd_features() & F_BIT(NF_HOST_USO))); /* this tap knows no such thing */
    CHECK(stands(RX) && stands(TX));
    CHECK_EQ(kernel[0].regions, 1);
    CHECK_EQ(kernel[0].region[0].guest_phys_addr, 0);
    CHECK(kernel[0].region[0].userspace_addr == (uintptr_t)ram_host(m->ram, 0, 1));
    vdev_start(NF | F_EVENT | F_INDIR);
    CHECK(runs(RX) && runs(TX));
    CHECK(offloads > 0);
    for (unsigned i = 0; i < 2; i++) {
        const struct ring *r = &kernel[0].ring[i];
        uint8_t *ram = ram_host(m->ram, 0, 1);
        CHECK_EQ(r->num, vd.q[i].size);
        CHECK_EQ(r->base, 0);
        CHECK(r->addr.desc_user_addr == (uintptr_t)ram + vd.q[i].desc);
        CHECK(r->addr.avail_user_addr == (uintptr_t)ram + vd.q[i].avail);
        CHECK(r->addr.used_user_addr == (uintptr_t)ram + vd.q[i].used);
        CHECK_EQ(r->addr.flags, 0);
    }
    CHECK_EQ(kernel[0].features, F_BIT(NF_MRG) | F_VERSION_1 | F_EVENT | F_INDIR);

    /* a kick reaches the eventfd that the kernel has, and nobody else */
    uint64_t count;
    (void)!read(kernel[0].ring[TX].kick, &count, sizeof count);
    vq_kick(TX);
    CHECK(read(kernel[0].ring[TX].kick, &count, sizeof count) == sizeof count);
    CHECK_EQ(count, 1);

    c_write(C_STATUS, 0, 1);
    CHECK(stands(RX) && stands(TX)); /* at once: not a byte is written after the reset */
    CHECK_EQ(vd_status(), 0);
    vd_run();
    vdev_start(NF);
    CHECK(runs(RX) && runs(TX));
    CHECK_EQ(busy, 0);
}

TEST(vhost_control_queue_stays_here)
{
    uint32_t id, len;
    card(1);
    vdev_start(NF);
    g_fill(VQ_BUFFERS, 9, 4);
    vq_add(2,
           (struct vq_buf[]){
               {VQ_BUFFERS,      3, 0      },
               {VQ_BUFFERS + 64, 1, F_WRITE}
    },
           2, 0);
    vq_kick(2);
    CHECK(vq_used(2, &id, &len));
}

/* What stopped goes on where it was: with the kernel's index, not ours. */
TEST(vhost_indices_survive_a_stop)
{
    card(1);
    vdev_start(NF);
    kernel[0].ring[RX].base = 77;
    g_write(vd.q[RX].used + 2, 70, 2);
    virtio_net_hold(&vd.pci->dev, true);
    CHECK(stands(RX) && stands(TX));
    const struct virtq *q = virtio_queue((struct virtio_device *)vd.pci, RX);
    CHECK_EQ(q->last_avail, 77);
    CHECK_EQ(q->used_idx, 70);
    kernel[0].ring[RX].base = 0;
    virtio_net_hold(&vd.pci->dev, false);
    CHECK(runs(RX) && runs(TX));
    CHECK_EQ(kernel[0].ring[RX].base, 77);
    /* reset: from the beginning */
    vdev_start(NF);
    CHECK_EQ(kernel[0].ring[RX].base, 0);
}

TEST(vhost_memory_follows_the_bus_master_bit)
{
    card(1);
    vdev_start(NF);
    kernel[0].ring[TX].base = 5;
    master(false);
    CHECK(stands(RX) && stands(TX));
    CHECK_EQ(kernel[0].regions, 0);
    vd_run();
    CHECK(!(vd_status() & ST_NEEDS_RESET));
    master(true);
    CHECK(runs(RX) && runs(TX));
    CHECK_EQ(kernel[0].ring[TX].base, 5);
    CHECK_EQ(kernel[0].regions, 1);
    /* DRIVER_OK before the bus master bit */
    master(false);
    vdev_start(NF);
    CHECK(stands(RX));
    master(true);
    CHECK(runs(RX));
    CHECK_EQ(busy, 0);
}

/* RAM that comes, goes and moves, with the queues running. */
TEST(vhost_memory_follows_the_map)
{
    static struct region hole, window;
    card(1);
    vdev_start(NF);
    unsigned tables = kernel[0].tables;
    region_init_io(&hole, "hole", 0x1000, &nothing, NULL, NULL, NULL);
    transaction_begin();
    region_add(&m->mem_root, &hole, 0x40000, 5);
    transaction_commit();
    CHECK_EQ(kernel[0].regions, 2);
    CHECK_EQ(kernel[0].tables, tables + 1);
    CHECK_EQ(kernel[0].region[0].memory_size, 0x40000);
    CHECK_EQ(kernel[0].region[1].guest_phys_addr, 0x41000);
    CHECK(kernel[0].region[1].userspace_addr == (uintptr_t)ram_host(m->ram, 0, 1) + 0x41000);
    CHECK(runs(RX) && runs(TX));
    region_move(&hole, 0x50000);
    CHECK_EQ(kernel[0].region[0].memory_size, 0x50000);
    /* over a ring: that queue is broken, the other goes on */
    region_move(&hole, VQ_BASE + VQ_AREA);
    CHECK(runs(RX) && stands(TX));
    CHECK(vd_status() & ST_NEEDS_RESET);
    region_enable(&hole, false);
    CHECK_EQ(kernel[0].regions, 1);
    vdev_start(NF);
    CHECK(runs(RX) && runs(TX));
    /* a device's registers that move tell nothing about RAM */
    tables = kernel[0].tables;
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
    CHECK_EQ(kernel[0].tables, tables);
    cf8_write(vd.pci->devfn, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    /* an alias shows the block a second time; read-only it is no memory for the kernel */
    region_init_alias(&window, "window", &m->ram->region, 0, 0x2000);
    region_add(&m->mem_root, &window, 1ull << 40, 0);
    CHECK_EQ(kernel[0].regions, 2);
    CHECK_EQ(kernel[0].region[1].guest_phys_addr, 1ull << 40);
    region_set_readonly(&window, true);
    CHECK_EQ(kernel[0].regions, 1);
    CHECK_EQ(busy, 0);
}

TEST(vhost_more_pieces_of_memory_than_the_kernel_takes)
{
    static struct region bits[VHOST_REGIONS_MAX + 1];
    card(1);
    vdev_start(NF);
    transaction_begin();
    for (unsigned i = 0; i <= VHOST_REGIONS_MAX; i++) {
        region_init_io(&bits[i], "bit", 0x100, &nothing, NULL, NULL, NULL);
        region_add(&m->mem_root, &bits[i], VQ_BUFFERS + i * 0x1000, 5);
    }
    transaction_commit();
    CHECK(stands(RX) && stands(TX));
    transaction_begin();
    for (unsigned i = 0; i <= VHOST_REGIONS_MAX; i++)
        region_enable(&bits[i], false);
    transaction_commit();
    CHECK_EQ(kernel[0].regions, 1);
    CHECK(runs(RX) && runs(TX));
}

static void entry(unsigned vec, unsigned field, uint32_t value)
{
    uint64_t at = (cf8(0, vd.pci->devfn, 0x14, 4) & ~15u) + 16 * vec + field;
    g_write(at, value, 4);
}
static void msix(unsigned control)
{
    cf8_write(vd.pci->devfn, vd.pci->msix + 2u, control, 2);
}

/* The vector's own eventfd while it is live, ours while it is not; nothing is lost on the way. */
TEST(vhost_interrupts_by_the_vectors_eventfd)
{
    uint64_t one = 1;
    card(1);
    vdev_negotiate(NF);
    for (unsigned i = 0; i < 3; i++) {
        vq_place(i, 16);
        vq_program(i);
        c_write(C_VECTOR, i, 2);
        c_write(C_ENABLE, 1, 2);
    }
    vdev_driver_ok();
    int ours = kernel[0].ring[RX].call;
    CHECK(ours >= 0);

    /* INTx: through the loop */
    CHECK(write(ours, &one, sizeof one) == sizeof one);
    vd_run();
    CHECK(vd_line());
    CHECK_EQ(g_read(vd.cap[CAP_ISR], 1), 1);
    CHECK(!vd_line());

    /* MSI-X on, masked: pending */
    msix(0x8000);
    CHECK_EQ(kernel[0].ring[RX].call, ours);
    CHECK(write(ours, &one, sizeof one) == sizeof one);
    vd_run();
    CHECK_EQ(vd.pci->msix_pending[0], 1);
    CHECK_EQ(m->fake.sent, 0);

    entry(0, 0, 0xfee00000);
    entry(0, ENTRY_DATA, 0x41);
    entry(0, ENTRY_CONTROL, 0);
    CHECK_EQ(m->fake.sent, 1); /* what was pending */
    int route = vd.pci->routes[0];
    CHECK_EQ(kernel[0].ring[RX].call, m->fake.fds[route - IRQ_LINES]);
    CHECK_EQ(m->fake.table[route - IRQ_LINES].data, 0x41);
    CHECK(kernel[0].ring[TX].call != kernel[0].ring[RX].call); /* its vector is masked still */

    entry(0, ENTRY_CONTROL, MASKED);
    CHECK_EQ(kernel[0].ring[RX].call, ours);
    /* signalled, and unmasked before the loop came to it */
    CHECK(write(ours, &one, sizeof one) == sizeof one);
    entry(0, ENTRY_DATA, 0x42);
    entry(0, ENTRY_CONTROL, 0);
    vd_run();
    CHECK_EQ(m->fake.sent, 2);
    CHECK_EQ(m->fake.log[1].data, 0x42);
    CHECK_EQ(m->fake.table[route - IRQ_LINES].data, 0x42);

    msix(0xc000); /* all masked */
    CHECK_EQ(kernel[0].ring[RX].call, ours);
    msix(0x8000);
    CHECK(kernel[0].ring[RX].call != ours);
    /* another vector for the queue, none at all, an address that is no message */
    c_write(C_SELECT, RX, 2);
    c_write(C_VECTOR, 0xffff, 2);
    CHECK_EQ(kernel[0].ring[RX].call, ours);
    c_write(C_VECTOR, 0, 2);
    CHECK(kernel[0].ring[RX].call != ours);
    entry(0, 0, 0x1000);
    CHECK_EQ(kernel[0].ring[RX].call, ours);
    msix(0);
    CHECK_EQ(kernel[0].ring[RX].call, ours);
}

TEST(vhost_error_needs_a_reset)
{
    uint64_t one = 1;
    card(1);
    vdev_start(NF);
    tap_is_dead = true; /* then it is nobody's ring */
    CHECK(write(kernel[0].ring[TX].error, &one, sizeof one) == sizeof one);
    vd_run();
    CHECK(!(vd_status() & ST_NEEDS_RESET));
    CHECK(runs(RX) && runs(TX));
    tap_is_dead = false;
    CHECK(write(kernel[0].ring[TX].error, &one, sizeof one) == sizeof one);
    vd_run();
    CHECK(vd_status() & ST_NEEDS_RESET);
    CHECK(runs(RX) && stands(TX));
    vdev_start(NF);
    CHECK(runs(RX) && runs(TX));
    CHECK(!(vd_status() & ST_NEEDS_RESET));
}

TEST(vhost_link_down_takes_the_backend_away)
{
    card(1);
    vdev_start(NF);
    virtio_net_set_link(&vd.pci->dev, false);
    CHECK(stands(RX) && stands(TX));
    CHECK(write(tap[0][1], "old", 3) == 3);
    virtio_net_set_link(&vd.pci->dev, true);
    CHECK(runs(RX) && runs(TX));
    char byte;
    CHECK(read(tap[0][0], &byte, 1) < 0 && errno == EAGAIN); /* what came meanwhile is nobody's */
}

static uint8_t pairs_command(unsigned queue, unsigned pairs)
{
    uint32_t id, len;
    g_write(VQ_BUFFERS, 4, 1);
    g_write(VQ_BUFFERS + 1, 0, 1);
    g_write(VQ_BUFFERS + 2, pairs, 2);
    g_write(VQ_BUFFERS + 64, 0x77, 1);
    vq_add(queue,
           (struct vq_buf[]){
               {VQ_BUFFERS,      4, 0      },
               {VQ_BUFFERS + 64, 1, F_WRITE}
    },
           2, 0);
    vq_kick(queue);
    CHECK(vq_used(queue, &id, &len));
    return (uint8_t)g_read(VQ_BUFFERS + 64, 1);
}

TEST(vhost_several_pairs)
{
    card(2);
    vdev_start(NF | F_BIT(NF_MQ));
    CHECK(runs(0) && runs(1) && stands(2) && stands(3));
    CHECK_EQ(attached, 0);
    CHECK_EQ(pairs_command(4, 2), 0);
    CHECK(runs(0) && runs(1) && runs(2) && runs(3));
    CHECK_EQ(attached, 1);
    CHECK_EQ(kernel[1].regions, 1);
    CHECK(kernel[1].ring[0].kick != kernel[0].ring[0].kick);
    CHECK_EQ(pairs_command(4, 1), 0);
    CHECK(runs(1) && stands(2) && runs(3)); /* what is there to be sent is sent */
    CHECK_EQ(attached, 0);
    virtio_net_hold(&vd.pci->dev, true);
    CHECK(stands(1) && stands(3));
    virtio_net_hold(&vd.pci->dev, false);
    CHECK(runs(1) && stands(2) && runs(3));
    CHECK_EQ(pairs_command(4, 2), 0);
    CHECK(runs(2) && runs(3));
    CHECK_EQ(pairs_command(4, 1), 0);
    vdev_negotiate(NF | F_BIT(NF_MQ)); /* the reset gives them back */
    CHECK_EQ(attached, 0);
    vdev_start(NF | F_BIT(NF_MQ));
    CHECK(runs(1) && stands(2) && stands(3));
    /* without MQ the control queue is number 2, and answers */
    vdev_start(NF);
    CHECK(runs(0) && runs(1) && stands(2));
    uint32_t id, len;
    vq_add(2,
           (struct vq_buf[]){
               {VQ_BUFFERS,      3, 0      },
               {VQ_BUFFERS + 64, 1, F_WRITE}
    },
           2, 0);
    vq_kick(2);
    CHECK(vq_used(2, &id, &len));
    CHECK_EQ(busy, 0);
}

/* The kernel's log becomes that of the RAM block, page for page; toggled while the queues run. */
TEST(vhost_dirty_log)
{
    uint64_t bits[RAM_END / RAM_PAGE / 64];
    card(1);
    vdev_start(NF);
    CHECK(log_global_start());
    CHECK(kernel[0].features >> VHOST_F_LOG_ALL & 1);
    CHECK_EQ(kernel[0].ring[TX].addr.flags, 1 << VHOST_VRING_F_LOG);
    CHECK_EQ(kernel[0].ring[TX].addr.log_guest_addr, vd.q[TX].used);
    CHECK(runs(RX) && runs(TX));
    region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, RAM_END, bits); /* what was before */
    kernel[0].log[0] = 1ull << 3 | 1ull << 63;
    kernel[0].log[1] = 1ull << 5;
    /* part of it: the rest stays for later */
    CHECK_EQ(region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, 4 * RAM_PAGE, bits), 1);
    CHECK_EQ(bits[0], 1ull << 3);
    CHECK_EQ(region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, RAM_END, bits), 2);
    CHECK_EQ(bits[0], 1ull << 63);
    CHECK_EQ(bits[1], 1ull << 5);
    CHECK_EQ(region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, RAM_END, bits), 0);
    /* a driver that starts anew is logged too */
    vdev_start(NF);
    CHECK_EQ(kernel[0].ring[RX].addr.flags, 1 << VHOST_VRING_F_LOG);
    region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, RAM_END, bits);
    /* what was written before the map changed is not lost */
    kernel[0].log[0] = 1ull << 7;
    master(false);
    CHECK(region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, RAM_END, bits) >= 1);
    CHECK(bits[0] >> 7 & 1);
    master(true);
    CHECK(kernel[0].features >> VHOST_F_LOG_ALL & 1);
    log_global_stop();
    CHECK(!(kernel[0].features >> VHOST_F_LOG_ALL & 1));
    CHECK_EQ(kernel[0].ring[TX].addr.flags, 0);
    CHECK(runs(RX) && runs(TX));
    /* one region's log */
    CHECK(region_log(&m->ram->region, REGION_LOG_USER, true));
    CHECK(kernel[0].features >> VHOST_F_LOG_ALL & 1);
    kernel[0].log[0] = 1ull << 9;
    CHECK_EQ(region_log_fetch(&m->ram->region, REGION_LOG_USER, 9 * RAM_PAGE, RAM_PAGE, bits), 1);
    CHECK(region_log(&m->ram->region, REGION_LOG_USER, false));
    CHECK(!(kernel[0].features >> VHOST_F_LOG_ALL & 1));
}

TEST(vhost_without_a_log_all_pages_count_as_written)
{
    uint64_t bits[RAM_END / RAM_PAGE / 64];
    card(1);
    vdev_start(NF);
    fail_on = VHOST_SET_LOG_BASE;
    CHECK(log_global_start());
    CHECK_EQ(region_log_fetch(&m->ram->region, REGION_LOG_GLOBAL, 0, RAM_END, bits), RAM_END / RAM_PAGE);
    CHECK(runs(RX));
    fail_on = 0;
    log_global_stop();
}

/* Each request refused once: a warning and a queue that needs a reset, never more; after the reset it goes again. */
TEST(V19_vhost_requests_that_fail)
{
    static const unsigned long requests[] = {
        VHOST_SET_FEATURES,   VHOST_SET_MEM_TABLE,  VHOST_SET_VRING_NUM,  VHOST_SET_VRING_BASE,
        VHOST_GET_VRING_BASE, VHOST_SET_VRING_ADDR, VHOST_SET_VRING_CALL, VHOST_NET_SET_BACKEND,
    };
    for (unsigned i = 0; i < sizeof requests / sizeof *requests; i++) {
        card(1);
        fail_on = requests[i];
        master(false);
        vdev_start(NF);
        master(true);
        vd_run();
        virtio_net_hold(&vd.pci->dev, true);
        virtio_net_hold(&vd.pci->dev, false);
        if (requests[i] != VHOST_SET_MEM_TABLE)
            CHECK(vd_status() & ST_NEEDS_RESET);
        fail_on = 0;
        master(false);
        master(true);
        vdev_start(NF);
        CHECK(runs(RX) && runs(TX));
    }
}

TEST(vhost_of_a_kernel_that_knows_less)
{
    kernel_features = F_VERSION_1;
    card(1);
    CHECK(!(vd_features() & (F_BIT(NF_MRG) | F_EVENT | F_INDIR)));
    vdev_start(F_VERSION_1);
    CHECK(runs(RX));
    CHECK_EQ(kernel[0].features, F_VERSION_1);
    char err[256];
    kernel_features = F_BIT(NF_MRG);
    CHECK(!vhost_new(&(struct vhost_options){.name = "net0", .ops = &fake, .pairs = 1}, err, sizeof err));
    CHECK(strstr(err, "net0: /dev/vhost-net") && strstr(err, "leave vhost= out"));
    kernel_features = 0;
}

/* Everything that a guest and a user can do, in any order: nothing runs that should not, and at the end all goes. */
TEST(vhost_at_random)
{
    uint64_t seed = getenv("TEST_SEED") ? strtoull(getenv("TEST_SEED"), NULL, 0) : 42;
    bool on = true, held = false, link = true, logs = false;
    static struct region hole;
    card(2);
    region_init_io(&hole, "hole", 0x1000, &nothing, NULL, NULL, NULL);
    region_add(&m->mem_root, &hole, 0xf0000, 5);
    for (unsigned i = 0; i < test_scale(4000); i++) {
        uint64_t r = test_rand(&seed), one = 1;
        switch (r >> 32 & 15) {
        case 0:
            vdev_start(NF | (r & 1 ? F_BIT(NF_MQ) : 0));
            break;
        case 1:
            c_write(C_STATUS, 0, 1);
            break;
        case 2:
            master(on = !on);
            break;
        case 3:
            virtio_net_hold(&vd.pci->dev, held = !held);
            break;
        case 4:
            virtio_net_set_link(&vd.pci->dev, link = !link);
            break;
        case 5:
            region_move(&hole, (r & 0xff) << 12);
            break;
        case 6:
            if ((logs = !logs))
                CHECK(log_global_start());
            else
                log_global_stop();
            break;
        case 7:
            msix(r & 1 ? 0x8000 : r & 2 ? 0xc000 : 0);
            break;
        case 8:
            entry(r & 3, (r >> 4 & 3) * 4, r & 64 ? 0xfee00000 : (uint32_t)(r >> 7 & 1));
            break;
        case 9:
            (void)!write(kernel[r & 1].ring[r >> 1 & 1].error, &one, sizeof one);
            break;
        case 10:
            (void)!write(kernel[r & 1].ring[r >> 1 & 1].call, &one, sizeof one);
            break;
        case 11:
            c_write(C_SELECT, r & 7, 2);
            c_write(C_VECTOR, r >> 4 & 7, 2);
            break;
        case 12:
            vq_kick(r & 7 & 3);
            break;
        case 13:
            lock_take(&vd.pci->dev.lock);
            vhost_set_pairs(vh, 1 + (r & 1));
            lock_drop(&vd.pci->dev.lock);
            break;
        default:
            vd_run();
        }
        bool any = runs(0) || runs(1) || runs(2) || runs(3);
        CHECK(!any || (on && !held && link && vd_status() & ST_DRIVER_OK));
        CHECK_EQ(busy, 0);
    }
    if (logs)
        log_global_stop();
}
