// SPDX-License-Identifier: MIT
/* The serial port as a driver sees it (register by register, after the PC16550D data sheet and Linux's 8250 driver), and as
 * the host's end of the cable does. */
#include "devices/serial.h"
#include "fake_board.h"

enum {
    COM1 = 0x3f8,
    RBR = COM1,
    THR = COM1,
    IER,
    IIR,
    LCR,
    MCR,
    LSR,
    MSR,
    SCR,
    FCR = IIR,
    DLL = RBR,
    DLM = IER
};

static struct fake_board fb;
static struct device *com1;

static struct host {
    struct serial_backend backend;
    char out[1 << 16];
    size_t n, room; /* room: how much the backend will take */
    unsigned writes, ready;
    int dtr, rts, brk;
} host;

static size_t host_write(struct serial_backend *b, const uint8_t *data, size_t len)
{
    (void)b;
    size_t n = len < host.room ? len : host.room;
    memcpy(host.out + host.n, data, n);
    host.n += n;
    host.room -= n;
    host.writes++;
    return n;
}

static void host_ready(struct serial_backend *b)
{
    (void)b;
    host.ready++;
}

static void host_lines(struct serial_backend *b, bool dtr, bool rts, bool brk)
{
    (void)b;
    host.dtr = dtr, host.rts = rts, host.brk = brk;
}

static void start(void)
{
    static const struct serial_backend_ops ops = {host_write, host_ready, host_lines};
    board_make(&fb);
    memset(&host, 0, sizeof(host));
    host.backend.ops = &ops;
    host.room = sizeof(host.out);
    com1 = board_device(&fb, &serial_class, "index=0");
    serial_attach(com1, &host.backend);
}

static bool irq4(void)
{
    return fb.irq.level[4];
}

/* As Linux leaves a port that is open. */
static void open_port(unsigned ier)
{
    outb(&fb, FCR, 0x01);
    outb(&fb, FCR, 0x07);
    outb(&fb, LCR, 0x03);
    outb(&fb, FCR, 0x81); /* trigger at 8 */
    outb(&fb, MCR, 0x0b);
    outb(&fb, IER, ier);
}

TEST(serial_four_ports_and_their_lines)
{
    board_make(&fb);
    for (unsigned i = 0; i < 4; i++) {
        char option[16];
        snprintf(option, sizeof(option), "index=%u", i);
        board_device(&fb, &serial_class, option);
    }
    for (unsigned i = 0; i < 4; i++) {
        uint16_t p = serial_places[i].port;
        outb(&fb, p + 7, 0x50 + i);
        outb(&fb, p + 4, 0x08);
        outb(&fb, p + 1, 0x02); /* THRE at once */
        CHECK(fb.irq.level[serial_places[i].gsi]);
        if (i == 2) { /* COM1 and COM3 share a line */
            outb(&fb, 0x3f8 + 1, 0);
            CHECK(fb.irq.level[4]);
            outb(&fb, p + 1, 0);
            CHECK(!fb.irq.level[4]);
        }
    }
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(inb(&fb, serial_places[i].port + 7), 0x50 + i);
    CHECK_STR(fb.b.devices->id, "serial0");
    board_break(&fb);
}

TEST(serial_output_gathers_and_wakes_once)
{
    start();
    for (const char *p = "hello, world"; *p; p++) {
        CHECK_EQ(inb(&fb, LSR) & 0x60, 0x60);
        outb(&fb, THR, *p);
    }
    board_pass(&fb, 0);
    CHECK_EQ(host.n, 0);
    CHECK(!serial_tx_idle(com1));
    CHECK_EQ(board_run(&fb, 5000000), 1);
    CHECK_EQ(host.writes, 1);
    CHECK_EQ(host.n, 12);
    CHECK(!memcmp(host.out, "hello, world", 12));
    CHECK(serial_tx_idle(com1));
    board_break(&fb);
}

TEST(serial_full_backend_holds_the_guest_back_and_loses_nothing)
{
    unsigned sent = 0, refused;
    start();
    open_port(0x02);
    host.room = 100;
    while (inb(&fb, LSR) & 0x20) /* a polling guest that writes 16 at a time */
        for (unsigned i = 0; i < 16; i++, sent++)
            outb(&fb, THR, sent & 0xff);
    CHECK(sent >= 4096 && sent < 65536);
    board_run(&fb, 10000000);
    CHECK_EQ(host.n, 100);
    while (inb(&fb, LSR) & 0x20)
        for (unsigned i = 0; i < 16; i++, sent++)
            outb(&fb, THR, sent & 0xff);
    CHECK_EQ(inb(&fb, LSR) & 0x60, 0);
    inb(&fb, IIR); /* whatever was pending */
    CHECK_EQ(inb(&fb, IIR) & 0x0f, 1);
    CHECK(!irq4());
    unsigned writes = host.writes;
    board_run(&fb, 1000000000); /* nobody asks the backend again before it calls */
    CHECK_EQ(host.writes, writes);
    host.room = 1000;
    serial_tx_ready(com1);
    CHECK_EQ(host.n, 1100);
    CHECK(irq4()); /* THRE is back, with its interrupt */
    CHECK_EQ(inb(&fb, IIR), 0xc2);
    host.room = sizeof(host.out) - host.n;
    serial_tx_ready(com1);
    CHECK(serial_tx_idle(com1));
    CHECK_EQ(host.n, sent);
    for (unsigned i = 0; i < sent; i++)
        CHECK_EQ((uint8_t)host.out[i], i & 0xff);
    /* a guest that never looks: bytes are lost, memory is not */
    host.room = 0;
    for (unsigned i = 0; i < 100000; i++)
        outb(&fb, THR, 'x');
    refused = (unsigned)host.n;
    host.room = sizeof(host.out) - host.n;
    serial_tx_ready(com1);
    board_run(&fb, 10000000);
    CHECK(host.n - refused >= 4096 && host.n - refused <= 65536);
    board_break(&fb);
}

TEST(serial_thre_interrupt_rises_clears_and_returns)
{
    start();
    open_port(0);
    CHECK_EQ(inb(&fb, IIR), 0xc1);
    outb(&fb, IER, 2);
    CHECK(irq4());
    CHECK_EQ(inb(&fb, IIR), 0xc2);
    CHECK_EQ(inb(&fb, IIR), 0xc1); /* reading it clears it */
    CHECK(!irq4());
    outb(&fb, IER, 0); /* Linux's test for ports that do not reassert */
    outb(&fb, IER, 2);
    CHECK_EQ(inb(&fb, IIR), 0xc2);
    outb(&fb, IER, 2); /* no rising edge: nothing new */
    CHECK_EQ(inb(&fb, IIR), 0xc1);

    unsigned edges = fb.irq.changes[4];
    for (unsigned i = 0; i < 16; i++)
        outb(&fb, THR, 'a'); /* a FIFO's worth: one interrupt, not 16 */
    CHECK(irq4());
    CHECK_EQ(fb.irq.changes[4], edges + 1);
    CHECK_EQ(inb(&fb, IIR), 0xc2);
    outb(&fb, THR, 'b'); /* less than one: when the guest looks… */
    CHECK(!irq4());
    CHECK_EQ(inb(&fb, IIR), 0xc2);
    outb(&fb, THR, 'c'); /* … or soon by itself */
    CHECK(!irq4());
    board_run(&fb, 2000000);
    CHECK(irq4());
    outb(&fb, THR, 'd'); /* writing THR clears it */
    CHECK(!irq4());
    board_break(&fb);
}

TEST(serial_without_fifos)
{
    start();
    CHECK_EQ(inb(&fb, IIR), 0x01);
    outb(&fb, MCR, 0x08);
    outb(&fb, IER, 3);
    CHECK_EQ(inb(&fb, IIR), 0x02);
    outb(&fb, THR, 'x');
    CHECK(irq4()); /* every byte */
    CHECK_EQ(serial_rx(com1, "ab", 2), 2);
    CHECK_EQ(inb(&fb, IIR), 0x04);
    CHECK_EQ(inb(&fb, RBR), 'a');
    CHECK_EQ(inb(&fb, LSR) & 3, 1);
    CHECK_EQ(inb(&fb, RBR), 'b');
    CHECK_EQ(inb(&fb, LSR) & 3, 0);
    board_break(&fb);
}

/* What an edge-triggered interrupt controller has counted. */
static unsigned rises(void)
{
    return (fb.irq.changes[4] + 1) / 2;
}

/* A handler for an edge-triggered line that writes the next byte and does not read IIR. */
TEST(serial_each_byte_sent_without_fifos_is_an_edge)
{
    start();
    outb(&fb, MCR, 0x0b);
    outb(&fb, IER, 0x02);
    for (unsigned i = 0; i < 10; i++) {
        CHECK_EQ(rises(), i + 1);
        outb(&fb, THR, 'a' + i);
    }
    board_run(&fb, 5000000);
    CHECK(!memcmp(host.out, "abcdefghij", 10));
    board_break(&fb);
}

/* And one that takes one character each time it is called. */
TEST(serial_each_character_received_without_fifos_is_an_edge)
{
    start();
    outb(&fb, MCR, 0x0b);
    outb(&fb, IER, 0x01);
    CHECK_EQ(serial_rx(com1, "abcdefghij", 10), 10);
    for (unsigned i = 0; i < 10; i++) {
        CHECK(irq4());
        CHECK_EQ(rises(), i + 1);
        CHECK_EQ(inb(&fb, RBR), 'a' + i);
    }
    CHECK(!irq4());
    CHECK_EQ(rises(), 10);
    board_break(&fb);
}

TEST(serial_without_a_backend_sends_at_once)
{
    board_make(&fb);
    com1 = board_device(&fb, &serial_class, "index=0");
    open_port(0x02);
    CHECK_EQ(inb(&fb, IIR), 0xc2);
    CHECK(!irq4());
    outb(&fb, THR, 'x');
    CHECK(irq4()); /* although nobody looks at LSR */
    board_break(&fb);
}

TEST(serial_receive_trigger_levels_and_timeout)
{
    static const struct {
        uint8_t fcr, level;
    } rows[] = {
        {0x01, 1 },
        {0x41, 4 },
        {0x81, 8 },
        {0xc1, 14}
    };
    for (unsigned i = 0; i < 4; i++)
        for (unsigned n = 1; n <= 16; n++) {
            start();
            open_port(0);
            outb(&fb, FCR, rows[i].fcr);
            outb(&fb, IER, 1);
            CHECK(!irq4());
            CHECK_EQ(serial_rx(com1, "0123456789abcdef", n), n);
            CHECK(irq4());
            CHECK_EQ(inb(&fb, IIR), n >= rows[i].level ? 0xc4 : 0xcc);
            for (unsigned k = 0; k < n; k++) {
                CHECK(inb(&fb, LSR) & 1);
                CHECK_EQ(inb(&fb, RBR), "0123456789abcdef"[k]);
            }
            CHECK(!irq4());
            CHECK_EQ(inb(&fb, IIR), 0xc1);
            CHECK_EQ(inb(&fb, RBR), 0); /* nothing there */
            board_break(&fb);
        }
}

TEST(serial_interrupt_priority)
{
    start();
    open_port(0x0f); /* THRE pending by the rise */
    serial_modem(com1, 0x30);
    serial_rx(com1, "x", 1);
    serial_break(com1);
    CHECK_EQ(inb(&fb, RBR), 'x'); /* the break comes up */
    CHECK_EQ(inb(&fb, IIR), 0xc6);
    CHECK_EQ(inb(&fb, LSR) & 0x93, 0x91); /* FIFO error, BI, DR */
    CHECK_EQ(inb(&fb, IIR), 0xcc);
    CHECK_EQ(inb(&fb, LSR) & 0x93, 0x01);
    CHECK_EQ(inb(&fb, RBR), 0);
    CHECK_EQ(inb(&fb, IIR), 0xc2);
    CHECK_EQ(inb(&fb, IIR), 0xc0);
    CHECK(irq4());
    CHECK_EQ(inb(&fb, MSR), 0x38); /* DCD fell */
    CHECK_EQ(inb(&fb, MSR), 0x30);
    CHECK_EQ(inb(&fb, IIR), 0xc1);
    CHECK(!irq4());
    board_break(&fb);
}

TEST(serial_break_comes_in_order)
{
    start();
    open_port(5);
    serial_rx(com1, "ab", 2);
    serial_break(com1);
    serial_rx(com1, "c", 1);
    char seen[32] = "";
    uint8_t lsr;
    while ((lsr = inb(&fb, LSR)) & 1)
        sprintf(seen + strlen(seen), "%s%02x ", lsr & 0x10 ? "B" : "", inb(&fb, RBR));
    CHECK_STR(seen, "61 62 B00 63 ");
    board_break(&fb);
}

TEST(serial_modem_lines)
{
    start();
    open_port(8);
    CHECK_EQ(inb(&fb, MSR), 0xb0); /* CTS, DSR, DCD; no change since reset */
    serial_modem(com1, 0xf0);
    CHECK_EQ(inb(&fb, MSR), 0xf0); /* RI's rise is no event */
    serial_modem(com1, 0x30);
    CHECK(irq4());
    CHECK_EQ(inb(&fb, MSR), 0x3c); /* RI's fall is, and DCD's */
    CHECK(!irq4());
    board_pass(&fb, 0);
    CHECK(host.dtr && host.rts && !host.brk);
    outb(&fb, LCR, 0x43);
    outb(&fb, MCR, 0x09);
    board_pass(&fb, 0);
    CHECK(host.dtr && !host.rts && host.brk);
    board_break(&fb);
}

TEST(serial_out2_gates_the_line)
{
    start();
    open_port(1);
    outb(&fb, MCR, 0x03);
    serial_rx(com1, "x", 1);
    CHECK(!irq4());
    CHECK_EQ(inb(&fb, IIR), 0xcc);
    outb(&fb, MCR, 0x0b);
    CHECK(irq4());
    outb(&fb, MCR, 0x1b); /* loopback switches OUT2 off */
    CHECK(!irq4());
    board_break(&fb);
}

TEST(serial_loopback)
{
    start();
    open_port(0);
    serial_rx(com1, "wait", 4);
    outb(&fb, MCR, 0x1a); /* Linux's test: RTS and OUT2 */
    CHECK_EQ(inb(&fb, MSR) & 0xf0, 0x90);
    outb(&fb, MCR, 0x15);
    CHECK_EQ(inb(&fb, MSR) & 0xf0, 0x60);
    for (unsigned i = 0; i < 20; i++)
        outb(&fb, THR, 'A' + i);
    CHECK_EQ(inb(&fb, LSR) & 0x03, 0x03); /* overrun */
    CHECK_EQ(inb(&fb, LSR) & 0x03, 0x01); /* once */
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(inb(&fb, RBR), 'A' + i);
    CHECK_EQ(inb(&fb, LSR) & 0x01, 0);
    outb(&fb, THR, 'z');
    outb(&fb, MCR, 0x0b); /* what was looped and not read is gone; what the host sent is there */
    board_run(&fb, 10000000);
    CHECK_EQ(host.n, 0);
    outb(&fb, IER, 1);
    for (unsigned i = 0; i < 4; i++)
        CHECK_EQ(inb(&fb, RBR), "wait"[i]);
    CHECK_EQ(inb(&fb, LSR) & 1, 0);
    board_break(&fb);
}

/* A pipe has filled the port before the driver comes, which clears the FIFOs and reads what it finds, twice. */
TEST(serial_input_before_the_driver_is_kept)
{
    char seen[64] = "";
    start();
    CHECK_EQ(serial_rx(com1, "0123456789abcdefghijklmnopqrstuv", 32), 32);
    outb(&fb, IER, 0); /* autoconfig() */
    outb(&fb, IER, 0x0f);
    outb(&fb, IER, 0);
    outb(&fb, FCR, 0x01);
    outb(&fb, FCR, 0x07);
    outb(&fb, FCR, 0);
    inb(&fb, RBR);
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 40; k++) { /* the console prints */
            inb(&fb, LSR);
            outb(&fb, THR, '.');
        }
        outb(&fb, FCR, 0x01); /* startup(): clear and read */
        outb(&fb, FCR, 0x07);
        outb(&fb, FCR, 0x00);
        inb(&fb, LSR);
        inb(&fb, RBR);
        inb(&fb, IIR);
        inb(&fb, MSR);
        outb(&fb, FCR, 0x01);
        outb(&fb, FCR, 0x81);
        outb(&fb, MCR, 0x0b);
        outb(&fb, IER, 5);
        unsigned n = 0;
        while (n < 7 && (inb(&fb, LSR) & 1)) {
            sprintf(seen + strlen(seen), "%c", inb(&fb, RBR));
            n++;
        }
        outb(&fb, IER, 0); /* shutdown(), with a FIFO half read */
    }
    CHECK_STR(seen, "0123456789abcd");
    board_break(&fb);
}

TEST(serial_polling_guest_is_heard)
{
    unsigned polls = 0;
    start();
    serial_rx(com1, "k", 1);
    while (!(inb(&fb, LSR) & 1))
        CHECK(++polls < 100);
    CHECK_EQ(inb(&fb, RBR), 'k');
    serial_rx(com1, "l", 1);
    CHECK(inb(&fb, LSR) & 1);
    board_break(&fb);
}

TEST(S1_serial_divisor_0_and_huge)
{
    start();
    outb(&fb, LCR, 0x80);
    CHECK_EQ(inb(&fb, DLL), 12); /* not 0: Linux's early console divides by it */
    static const unsigned divisors[] = {0, 1, 0xffff, 0x8000, 0xff00};
    for (unsigned i = 0; i < 5; i++) {
        outb(&fb, LCR, 0x80);
        outb(&fb, DLL, divisors[i] & 0xff);
        outb(&fb, DLM, divisors[i] >> 8);
        CHECK_EQ(inb(&fb, DLL) | inb(&fb, DLM) << 8, divisors[i]);
        outb(&fb, LCR, 0x03);
        outb(&fb, THR, 'a' + i);
        serial_rx(com1, "x", 1);
    }
    CHECK_EQ(inb(&fb, IER), 0); /* and not DLM */
    board_run(&fb, 10000000);
    CHECK_EQ(host.n, 5);
    board_break(&fb);
}

TEST(S2_serial_input_that_nobody_reads)
{
    static const char chunk[4096];
    size_t taken = 0;
    start();
    for (unsigned i = 0; i < 1000; i++)
        taken += serial_rx(com1, chunk, sizeof(chunk));
    CHECK(taken <= 65536);
    CHECK_EQ(serial_rx_room(com1), 0);
    for (unsigned i = 0; i < 1000; i++)
        serial_break(com1);
    board_run(&fb, 1000000000);
    CHECK_EQ(host.ready, 0);
    open_port(1); /* now somebody does: told once, when there is room worth it */
    for (size_t i = 0; i < taken; i++)
        inb(&fb, RBR);
    board_pass(&fb, 0);
    CHECK_EQ(host.ready, 1);
    CHECK(serial_rx_room(com1) >= 1024);
    CHECK_EQ(inb(&fb, LSR) & 1, 0);
    board_break(&fb);
}

TEST(S3_serial_backend_that_never_takes)
{
    start();
    host.room = 0;
    for (unsigned long i = test_scale(200000); i; i--) {
        outb(&fb, THR, i);
        if (!(i & 1023))
            board_pass(&fb, 2000000);
    }
    CHECK(host.writes < 10);
    CHECK_EQ(inb(&fb, LSR) & 0x60, 0);
    uint64_t lost = com1->drops[0]; /* what a guest writes that does not look is gone, and counted */
    CHECK(lost >= test_scale(200000) - 8192);
    outb(&fb, THR, 'x');
    CHECK_EQ(com1->drops[0], lost + 1);
    board_break(&fb);
}

/* How many exits an interrupt-driven writer needs, and how often the host wakes: the driver's handler, played. */
TEST(serial_cost_of_a_long_output)
{
    unsigned exits = 0, sent = 0, wakes = 0, lost_edges = 0;
    start();
    open_port(0);
    outb(&fb, IER, 2);
    while (sent < 16000) {
        if (!irq4()) {
            lost_edges++;
            wakes += board_run(&fb, 1000000);
            continue;
        }
        exits += 3;
        CHECK_EQ(inb(&fb, IIR), 0xc2);
        CHECK(inb(&fb, LSR) & 0x20);
        inb(&fb, MSR);
        for (unsigned i = 0; i < 16; i++, sent++, exits++)
            outb(&fb, THR, sent);
        exits++;
        inb(&fb, IIR);
        outb(&fb, IER, 0);
        outb(&fb, IER, 2);
        wakes += board_run(&fb, 20000);
    }
    board_run(&fb, 10000000);
    CHECK_EQ(host.n, 16000);
    CHECK(exits <= 16000 * 5 / 4);
    CHECK(wakes < 100);
    CHECK_EQ(lost_edges, 0);
    board_break(&fb);
}

static uint8_t shadow_read(unsigned offset)
{
    uint8_t v = 0xaa;
    space_read(&fb.mem, SERIAL_SHADOW + offset, 1, &v);
    return v;
}

static void shadow_put(unsigned offset, uint8_t c)
{
    space_write(&fb.mem, SERIAL_SHADOW + offset, 1, &c);
}

/* Linux's early console, played: a byte, then LSR until it is empty, from memory. */
TEST(serial_shadow_transmits_and_waits)
{
    static const struct serial_backend_ops ops = {host_write, NULL, NULL};
    unsigned sent = 0;
    board_make(&fb);
    memset(&host, 0, sizeof(host));
    host.backend.ops = &ops;
    com1 = board_device(&fb, &serial_class, "index=0,shadow");
    serial_attach(com1, &host.backend);
    struct space *s = &fb.mem;
    static struct region apics; /* as a board keeps PCI out of there */
    static const struct region_ops none;
    region_init_io(&apics, "apics", 0x400000, &none, NULL, NULL, NULL);
    CHECK(region_add(&fb.mem_root, &apics, 0xfec00000, 0));
    epoch_enter();
    const struct range *r = view_find(s->view, SERIAL_SHADOW);
    CHECK(r && r->readonly && r->region->host); /* that is: a read-only slot, whose reads make no exit */
    CHECK_EQ(r->last, SERIAL_SHADOW + 4095);
    epoch_leave();
    CHECK_EQ(shadow_read(1), 0); /* IER */
    shadow_put(1, 0);
    CHECK_EQ(shadow_read(5), 0x60);
    while (shadow_read(5) == 0x60)
        shadow_put(0, (uint8_t)sent++);
    CHECK(sent > 4096 && sent < 65536);
    CHECK_EQ(inb(&fb, LSR) & 0x60, 0); /* one port, seen twice */
    host.room = sizeof(host.out);
    board_run(&fb, 10000000);
    CHECK_EQ(host.n, sent);
    for (unsigned i = 0; i < sent; i++)
        CHECK_EQ((uint8_t)host.out[i], i & 0xff);
    CHECK_EQ(shadow_read(5), 0x60);
    shadow_put(0, 'a');
    outb(&fb, THR, 'b');
    uint32_t wide = 0x63636363;
    space_write(s, SERIAL_SHADOW, 4, &wide); /* not its size */
    shadow_put(4095, 'd');
    shadow_put(5, 0); /* not writable */
    board_run(&fb, 10000000);
    CHECK_EQ(host.n, sent + 2);
    CHECK(!memcmp(host.out + sent, "ab", 2));
    CHECK_EQ(shadow_read(5), 0x60);
    CHECK(!dma_write(s, SERIAL_SHADOW, "x", 1));
    board_break(&fb);
}

TEST(serial_any_access_in_any_order)
{
    start();
    for (unsigned round = 0; round < 20; round++) {
        host.n = 0;
        host.room = round % 3 * 1000;
        serial_rx(com1, "some input", 10);
        port_storm(&fb, COM1, COM1 + 7, test_scale(3000), round);
        if (round & 1)
            serial_break(com1);
        serial_tx_ready(com1);
        device_reset(com1);
    }
    board_break(&fb);
}

TEST(serial_state_goes_round)
{
    static char buf[32768];
    start();
    open_port(7);
    serial_rx(com1, "0123456789abcdefXYZ", 19);
    CHECK_EQ(inb(&fb, RBR), '0');
    host.room = 2;
    for (unsigned i = 0; i < 10; i++)
        outb(&fb, THR, 'a' + i);
    board_run(&fb, 10000000);
    size_t n = device_save(com1, buf, sizeof(buf));
    CHECK(n < sizeof(buf));

    struct device *com3 = board_device(&fb, &serial_class, "index=2");
    static struct host host3;
    host3.backend.ops = host.backend.ops;
    serial_attach(com3, &host3.backend);
    const char *sentence = device_load(com3, buf, n);
    CHECK(!sentence);
    CHECK_EQ(inb(&fb, 0x3e8 + 2), inb(&fb, IIR));
    for (unsigned i = 1; i < 19; i++)
        CHECK_EQ(inb(&fb, 0x3e8), "0123456789abcdefXYZ"[i]);
    CHECK(!serial_tx_idle(com3));
    board_break(&fb);
}
