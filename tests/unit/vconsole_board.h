/* SPDX-License-Identifier: MIT
 *
 * virtio-console on the virtio board: a terminal whose host's end is the test's own, or ports with ends made by options; and
 * the driver's side of the control queues.
 */
#ifndef TESTS_UNIT_VCONSOLE_BOARD_H
#define TESTS_UNIT_VCONSOLE_BOARD_H

#include "virtio/console.h"
#include "virtio_board.h"

enum {
    F_SIZE = 0,
    F_MULTIPORT = 1,
    F_EMERG = 2,

    RX = 0, /* port 0's queues; the control queues; port 1's */
    TX = 1,
    CRX = 2,
    CTX = 3,
    RX1 = 4,
    TX1 = 5,

    M_DEVICE_READY = 0,
    M_PORT_ADD = 1,
    M_PORT_READY = 3,
    M_CONSOLE = 4,
    M_RESIZE = 5,
    M_OPEN = 6,
    M_NAME = 7,

    BUF = VQ_BUFFERS,
};
#define MULTI (F_VERSION_1 | F_BIT(F_MULTIPORT) | F_BIT(F_SIZE))

/* --- the host's end: takes what it is allowed to */

static struct {
    struct device *dev;
    char got[1 << 16];
    size_t n, room;
    unsigned writes, readies;
} host;

static inline size_t host_write(void *ctx, const void *data, size_t n)
{
    (void)ctx;
    host.writes++;
    n = n < host.room ? n : host.room;
    CHECK(n <= sizeof host.got);
    if (host.n + n > sizeof host.got)
        host.n = 0;
    memcpy(host.got + host.n, data, n);
    host.n += n;
    host.room -= n;
    return n;
}
static inline void host_rx_ready(void *ctx)
{
    (void)ctx;
    host.readies++;
}
static const struct console_end_ops host_ops = {.write = host_write, .rx_ready = host_rx_ready};

/* The driver is through with its set-up. */
static inline void settle(void)
{
    vd_now_ns += 2000000000;
    vd_run();
}

static inline void terminal(uint64_t features)
{
    memset(&host, 0, sizeof host);
    host.room = SIZE_MAX;
    host.dev = vdev_new(&vconsole_class, "terminal");
    virtio_console_attach(host.dev, &host_ops, NULL);
    if (features) {
        vdev_start(features);
        settle();
    }
}

static inline void g_put(uint64_t gpa, const void *data, size_t n)
{
    for (size_t i = 0; i < n; i++)
        g_write(gpa + i, ((const uint8_t *)data)[i], 1);
}
static inline const char *g_text(uint64_t gpa, size_t n)
{
    static char text[4096];
    CHECK(n < sizeof text);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)g_read(gpa + i, 1);
    text[n] = 0;
    return text;
}

/* One transmit buffer; true: it came back. */
static inline bool say(unsigned q, const char *text)
{
    uint32_t id, len;
    g_put(BUF, text, strlen(text));
    vq_add(q,
           (struct vq_buf[]){
               {BUF, (uint32_t)strlen(text), 0}
    },
           1, 0);
    vq_kick(q);
    bool back = vq_used(q, &id, &len);
    CHECK(!back || (id == 0 && len == 0));
    return back;
}
static inline void give(unsigned q, unsigned first, unsigned n, uint32_t size)
{
    for (unsigned i = 0; i < n; i++)
        vq_add(q,
               (struct vq_buf[]){
                   {BUF + 0x1000 + (first + i) * 0x200, size, F_WRITE}
        },
               1, first + i);
    vq_kick(q);
}
/* The next received buffer as text. */
static inline const char *heard(unsigned q)
{
    uint32_t id, len;
    return vq_used(q, &id, &len) ? g_text(BUF + 0x1000 + id * 0x200, len) : "(none)";
}

/* --- named ports */

static inline void control(uint32_t id, unsigned event, unsigned value)
{
    g_write(BUF, id, 4);
    g_write(BUF + 4, event, 2);
    g_write(BUF + 6, value, 2);
    uint32_t used, len;
    vq_add(CTX,
           (struct vq_buf[]){
               {BUF, 8, 0}
    },
           1, 0);
    vq_kick(CTX);
    CHECK(vq_used(CTX, &used, &len));
}
/* The next control message: its port << 16 | event << 8 | value; ~0: none. What follows it is `rest`. */
static char rest[256];
static inline unsigned told(void)
{
    uint32_t id, len;
    if (!vq_used(CRX, &id, &len))
        return ~0u;
    uint64_t at = BUF + 0x1000 + id * 0x200;
    CHECK(len >= 8);
    memcpy(rest, g_text(at + 8, len - 8), len - 8 + 1);
    vq_avail(CRX, id); /* again */
    return (unsigned)(g_read(at, 4) << 16 | g_read(at + 4, 2) << 8 | g_read(at + 6, 2));
}
#define TOLD(port, event, value) CHECK_EQ(told(), (unsigned)(port) << 16 | (event) << 8 | (value))

static char folder[64];
static inline void folder_remove(void)
{
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command))
        printf("%s: is still there\n", folder);
}
static inline const char *in_folder(const char *format)
{
    static char text[4][400];
    static unsigned turn;
    if (!*folder) {
        strcpy(folder, "/tmp/vmlet-console-XXXXXX");
        CHECK(mkdtemp(folder));
        atexit(folder_remove);
    }
    char *to = text[turn++ % 4];
    snprintf(to, sizeof text[0], format, folder, folder, folder);
    return to;
}

static inline struct device *ports(const char *options)
{
    struct device *dev = vdev_new(&vconsole_class, options);
    vdev_start(MULTI);
    give(CRX, 0, 8, 0x200);
    return dev;
}

#endif
