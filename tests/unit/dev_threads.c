// SPDX-License-Identifier: MIT
/* A guest's thread and the loop's at one serial port at once: every byte arrives, both ways, in order. Worth most under the
 * thread sanitizer and with lock ranks asserted. */
#include <pthread.h>

#include "devices/serial.h"
#include "fake_board.h"

enum {
    BYTES = 60000,
    COM2 = 0x2f8
};

static struct fake_board fb;
static struct device *com2;
static struct serial_backend backend;
static unsigned got, fed, stutter;
static bool wrong;
static _Atomic bool guest_wrong, guest_done;

/* Takes a little more or a little less, and now and then nothing. */
static size_t back_write(struct serial_backend *b, const uint8_t *data, size_t len)
{
    size_t n = ++stutter % 5 == 0 ? 0 : stutter % 3 == 0 && len > 7 ? 7 : len;
    (void)b;
    for (size_t i = 0; i < n; i++)
        wrong |= data[i] != (uint8_t)got++;
    return n;
}

static void feed(struct serial_backend *b)
{
    uint8_t data[700];
    size_t n;
    (void)b;
    do {
        for (n = 0; n < sizeof(data) && fed + n < BYTES; n++)
            data[n] = (uint8_t)(fed + n);
        size_t taken = serial_rx(com2, data, n);
        fed += (unsigned)taken;
        if (taken < n)
            return;
    } while (n);
}

static void *guest(void *arg)
{
    unsigned sent = 0, seen = 0;
    (void)arg;
    outb(&fb, COM2 + 2, 0x81);
    outb(&fb, COM2 + 4, 0x0b);
    outb(&fb, COM2 + 1, 0x07);
    while (sent < BYTES || seen < BYTES) {
        uint8_t lsr = inb(&fb, COM2 + 5);
        if (lsr & 1)
            guest_wrong |= inb(&fb, COM2) != (uint8_t)seen++;
        for (unsigned i = 0; (lsr & 0x20) && i < 16 && sent < BYTES; i++)
            outb(&fb, COM2, (uint8_t)sent++);
        inb(&fb, COM2 + 2);
    }
    guest_done = true;
    return NULL;
}

TEST(serial_guest_and_loop_at_once)
{
    static const struct serial_backend_ops ops = {back_write, feed, NULL};
    pthread_t thread;
    board_make(&fb);
    loop_free(fb.b.loop);
    fb.b.loop = loop_new(NULL);
    backend.ops = &ops;
    com2 = board_device(&fb, &serial_class, "index=1");
    serial_attach(com2, &backend);
    feed(&backend);
    CHECK(!pthread_create(&thread, NULL, guest, NULL));
    while (!guest_done || !serial_tx_idle(com2)) {
        if (!loop_step(fb.b.loop))
            sched_yield();
        serial_tx_ready(com2);
        serial_modem(com2, guest_done ? 0x10 : 0x30);
    }
    pthread_join(thread, NULL);
    CHECK(!wrong);
    CHECK(!guest_wrong);
    CHECK_EQ(got, BYTES);
    CHECK_EQ(fed, BYTES);
    board_break(&fb);
}
