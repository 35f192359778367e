// SPDX-License-Identifier: MIT
/* Frames to vmlet. One buffer holds what the tty has not yet taken. It is only filled with a data frame while
 * it is nearly empty, so there is always room for the few frames of another kind that can come up meanwhile
 * (credit is given in halves of the window, so at most two are due; a log line; the status), and so that a
 * signal or the end of the command never waits behind more than one data frame. */
#include "sys.h"

enum {
    RESERVE = 4096
};

static struct {
    int fd;
    uint8_t seq;
    uint32_t start, end;
    uint8_t bytes[FRAME_HEAD + FRAME_MAX + RESERVE];
} line = {.fd = -1};

void line_open(int fd)
{
    line.fd = fd;
}

bool line_busy(void)
{
    return line.start != line.end;
}

void line_flush(void)
{
    while (line_busy()) {
        long n = SYS(write, line.fd, line.bytes + line.start, line.end - line.start);
        if (n <= 0)
            break; /* EAGAIN: the pump waits for POLLOUT */
        line.start += (uint32_t)n;
    }
    if (!line_busy())
        line.start = line.end = 0;
}

static void compact(void)
{
    memmove(line.bytes, line.bytes + line.start, line.end - line.start);
    line.end -= line.start;
    line.start = 0;
}

bool line_control(uint8_t type, const void *payload, uint32_t n)
{
    compact();
    if (line.fd < 0 || FRAME_HEAD + n > sizeof line.bytes - line.end)
        return false;
    frame_head_put(line.bytes + line.end, type, line.seq++, (uint16_t)n);
    memcpy(line.bytes + line.end + FRAME_HEAD, payload, n);
    line.end += FRAME_HEAD + n;
    line_flush();
    return true;
}

void line_log(const char *text)
{
    uint32_t n = (uint32_t)strlen(text);
    line_control(FRAME_LOG, text, n < 512 ? n : 512);
}

uint32_t line_room(void)
{
    uint32_t held = line.end - line.start;
    uint32_t left = sizeof line.bytes - RESERVE - FRAME_HEAD;
    return held < left ? left - held : 0;
}

uint8_t *line_payload(void)
{
    compact();
    return line.bytes + line.end + FRAME_HEAD;
}

void line_data(uint8_t type, uint32_t n)
{
    frame_head_put(line.bytes + line.end, type, line.seq++, (uint16_t)n);
    line.end += FRAME_HEAD + n;
    line_flush();
}
