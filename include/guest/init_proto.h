/* SPDX-License-Identifier: MIT
 *
 * What vmlet and its in-guest init say to each other. Used by both sides, so: no libc, no allocation, fixed
 * layout, little endian (both ends are x86). Two things are described here: the frames on COM2, and the
 * command file.
 *
 * FRAMES. COM2 is a byte stream without loss: the emulated 16550 gives a byte only when the guest reads RBR,
 * and takes one only when vmlet has room. What can lose bytes is the guest's tty layer (n_tty holds 4 KiB,
 * its flip buffers 64 KiB) and what can stall is one full stream in front of another. Both are kept away by
 * credit: each of the three data streams has a window, counted in payload bytes; its sender may have that
 * many bytes on the way that the other side has not yet passed on, and FRAME_CREDIT opens it again. RTS/CTS
 * was rejected: it stops the whole line, so a full stdout would hold back the credit for stdin and the signal
 * that should end the command; it also leans on how each kernel's 8250 driver throttles. With credit both
 * receivers can always read the line dry, at a bounded memory: all that may be under way towards the guest (a
 * window of stdin and a few control frames) fits in its flip buffers.
 *
 *   guest -> host   HELLO, then STDOUT, STDERR, CREDIT(stdin), LOG; STATUS last, exactly once when a command was given
 *   host -> guest   (nothing before HELLO) STDIN, STDIN_END, CREDIT(stdout|stderr), CLOSED, WINSIZE, SIGNAL, STOP
 *
 * A frame is an 8-byte header and its payload. Each direction counts its frames modulo 256. A receiver that
 * does not find a valid header skips a byte and tries again (a kernel told console=ttyS1, or firmware, may
 * print on the line); skipped bytes and gaps in the count are reported: before HELLO they are harmless, after
 * it output may be lost.
 *
 * COMMAND FILE. /.vmlet/command in the initramfs: struct command_head, then strings, each a 32-bit length,
 * that many bytes, and a NUL that the length does not count, without padding, in this order: folder, host
 * name, program, argc arguments, envc variables, for each module its path and its parameters, and for each share
 * its tag, its folder and its words (`ro` or nothing). An empty program means: search argv[0] in PATH. argc 0: no
 * command, a shell (program, if it is given) on the console. Flags above the known ones are refused.
 */
#ifndef GUEST_INIT_PROTO_H
#define GUEST_INIT_PROTO_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    INIT_PROTO_VERSION = 1,

    FRAME_MAGIC0 = 0xf5, /* both bytes occur in no UTF-8 text */
    FRAME_MAGIC1 = 0xc1,
    FRAME_HEAD = 8,
    FRAME_MAX = 4096, /* payload bytes of one frame */

    STDIN_WINDOW = 16384, /* held by init until the command reads it */
    /* each of stdout and stderr, held by vmlet until its own stdout or stderr takes it */
    OUTPUT_WINDOW = 65536,
};

enum frame_type {
    FRAME_HELLO = 1,  /* g>h  struct frame_hello: init runs, the line is raw; opens all windows */
    FRAME_STDOUT = 2, /* g>h  bytes */
    FRAME_STDERR = 3, /* g>h  bytes */
    FRAME_LOG = 4,    /* g>h  text: a sentence of init itself, for the user */
    FRAME_STATUS = 5, /* g>h  struct frame_status and text: the command's end, all output sent before it */
    FRAME_CREDIT = 6, /* both struct frame_credit: that many more bytes of a stream may be sent */
    FRAME_STDIN = 16, /* h>g  bytes */
    FRAME_STDIN_END = 17, /* h>g  no payload */
    /* h>g  uint32_t FRAME_STDOUT or FRAME_STDERR: nobody reads it any more (SIGPIPE in the guest) */
    FRAME_CLOSED = 18,
    FRAME_WINSIZE = 19, /* h>g  struct frame_winsize */
    FRAME_SIGNAL = 20,  /* h>g  uint32_t signal: to the command's (pty: foreground) process group */
    FRAME_STOP = 21,    /* h>g  uint32_t milliseconds: SIGTERM, then SIGKILL when that time is over */
};

struct frame_head {
    uint8_t magic[2];
    uint8_t type; /* enum frame_type */
    uint8_t seq;
    uint16_t length; /* of the payload, at most FRAME_MAX */
    uint16_t check;  /* frame_check() of the six bytes before */
};
static_assert(sizeof(struct frame_head) == FRAME_HEAD, "the header has no padding");

struct frame_hello {
    uint32_t version; /* INIT_PROTO_VERSION */
    uint32_t reserved;
};
static_assert(sizeof(struct frame_hello) == 8, "wire layout");

struct frame_credit {
    uint32_t stream; /* FRAME_STDIN, FRAME_STDOUT or FRAME_STDERR */
    uint32_t bytes;
};
static_assert(sizeof(struct frame_credit) == 8, "wire layout");

struct frame_winsize {
    uint16_t rows, cols, xpixel, ypixel; /* as in struct winsize */
};
static_assert(sizeof(struct frame_winsize) == 8, "wire layout");

enum status_reason {
    STATUS_EXITED = 0,   /* value: the exit code, 0-255 */
    STATUS_SIGNALED = 1, /* value: the signal's number */
    STATUS_FAILED = 2,   /* value: 125, 126 or 127, text says why: init could not run the command */
};

struct frame_status {
    uint32_t reason; /* enum status_reason */
    uint32_t value;
    /* text follows to the end of the frame, without NUL, may be empty */
};
static_assert(sizeof(struct frame_status) == 8, "wire layout");

#define COMMAND_FILE     "/.vmlet/command"
#define COMMAND_MAGIC    "vmletcmd"
#define HOSTNAME_DEFAULT "vmlet" /* of a guest without a name: DHCP may give it another */

enum command_flags {
    COMMAND_PTY = 1 << 0,        /* stdin and stdout are one pty */
    COMMAND_PTY_STDERR = 1 << 1, /* with COMMAND_PTY: stderr is the pty too; otherwise a pipe of its own */
    COMMAND_BUSYBOX_INSTALL = 1 << 2, /* run `/bin/busybox --install -s` first */
    COMMAND_DHCP = 1 << 3,            /* somebody may answer at a card's other end */
    COMMAND_CARDS = 1 << 4,           /* the user asked for a card: worth a word if there is none */
    COMMAND_FLAGS_ALL = (1 << 5) - 1,
};

enum {
    COMMAND_STRINGS_MAX = 1 << 20, /* arguments, variables or modules */
    COMMAND_MODULE_OPTIONAL =
        '?',         /* first byte of a module's path: a failure to load it is not worth a word */
    SHARE_WORDS = 3, /* strings of a share */
};

/* Where files lie that are to be seen in a root that is the host's. */
#define SHARE_ADDED "/.vmlet/added"

struct command_head {
    char magic[8];
    uint32_t version; /* INIT_PROTO_VERSION */
    uint32_t flags;   /* enum command_flags */
    uint32_t size;    /* of the whole file */
    uint32_t argc, envc, modules, shares;
    uint32_t uid, gid, reserved;
    struct frame_winsize winsize; /* of the pty, or of the console; 0 if not known */
};
static_assert(sizeof(struct command_head) == 56, "file layout");

/* CRC-16/CCITT of the header without its last two bytes. */
static inline uint16_t frame_check(const uint8_t *head)
{
    uint16_t crc = 0xffff;
    for (int i = 0; i < FRAME_HEAD - 2; i++) {
        crc ^= (uint16_t)(head[i] << 8);
        for (int b = 0; b < 8; b++)
            crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
    }
    return crc;
}

static inline void frame_head_put(uint8_t *out, uint8_t type, uint8_t seq, uint16_t length)
{
    out[0] = FRAME_MAGIC0;
    out[1] = FRAME_MAGIC1;
    out[2] = type;
    out[3] = seq;
    out[4] = (uint8_t)length;
    out[5] = (uint8_t)(length >> 8);
    uint16_t check = frame_check(out);
    out[6] = (uint8_t)check;
    out[7] = (uint8_t)(check >> 8);
}

/* Receiver of one direction: feed bytes, get whole frames. Zero it before use. */
struct frame_rx {
    uint32_t have;    /* bytes of the header and payload under way */
    uint32_t length;  /* payload length, known once have >= FRAME_HEAD */
    uint8_t seq;      /* of the next frame */
    uint64_t garbage; /* bytes skipped so far */
    uint64_t gaps;    /* frames that came with another number than the next; not counted for the first one */
    bool first_seen;
    uint8_t bytes[FRAME_HEAD + FRAME_MAX];
};

static inline bool frame_head_valid(const uint8_t *h)
{
    return h[0] == FRAME_MAGIC0 && h[1] == FRAME_MAGIC1 && (h[4] | h[5] << 8) <= FRAME_MAX &&
           frame_check(h) == (h[6] | h[7] << 8);
}

/* Looks at the header collected so far and drops bytes from its front until it may still become, or is,
 * valid. */
static inline void frame_rx_sync(struct frame_rx *rx)
{
    while (rx->have) {
        const uint8_t *h = rx->bytes;
        if (h[0] == FRAME_MAGIC0 && (rx->have < 2 || h[1] == FRAME_MAGIC1) &&
            (rx->have < FRAME_HEAD || frame_head_valid(h)))
            return;
        for (uint32_t i = 1; i < rx->have; i++)
            rx->bytes[i - 1] = rx->bytes[i];
        rx->have--;
        rx->garbage++;
    }
}

/* Takes bytes until a frame is whole; returns how many it took. When *whole is set the frame is at rx->bytes
 * (type in [2], rx->length payload bytes from FRAME_HEAD on) until frame_rx_done(); no byte is taken in
 * between. */
static inline size_t frame_rx_feed(struct frame_rx *rx, const uint8_t *bytes, size_t n, bool *whole)
{
    size_t i = 0;
    *whole = false;
    for (;;) {
        if (rx->have >= FRAME_HEAD) {
            if (rx->have == FRAME_HEAD)
                rx->length = (uint32_t)(rx->bytes[4] | rx->bytes[5] << 8);
            uint32_t total = FRAME_HEAD + rx->length;
            while (rx->have < total && i < n)
                rx->bytes[rx->have++] = bytes[i++];
            *whole = rx->have == total;
            return i;
        }
        if (i == n)
            return i;
        rx->bytes[rx->have++] = bytes[i++];
        frame_rx_sync(rx);
    }
}

static inline void frame_rx_done(struct frame_rx *rx)
{
    if (rx->first_seen && rx->bytes[3] != rx->seq)
        rx->gaps++;
    rx->first_seen = true;
    rx->seq = (uint8_t)(rx->bytes[3] + 1);
    rx->have = 0;
}

#endif
