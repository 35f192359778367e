// SPDX-License-Identifier: MIT
/* The terminal: include/kvm/host/term.h. What must be put right lies in one static, published by a flag, so that a signal
 * handler in any thread can do it; tcsetattr() is async-signal-safe. */
#include "kvm/host/term.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static int raw_fd = -1;    /* the terminal that is, or should be, raw */
static atomic_bool is_raw; /* `before` is valid and must be put back */
static bool restores_at_exit;

enum {
    CTRL_A = 1
};

/* Changing a terminal from the background would stop the process (SIGTTOU). */
static bool foreground(int fd)
{
    pid_t group = tcgetpgrp(fd);
    return group < 0 || group == getpgrp(); /* not our controlling terminal: nobody's job */
}

bool term_is_anothers(int fd)
{
    return isatty(fd) && !foreground(fd);
}

bool term_raw(int fd)
{
    if (atomic_load(&is_raw))
        return true;
    if (!isatty(fd))
        return false;
    raw_fd = fd;
    if (!foreground(fd) || tcgetattr(fd, &before) < 0)
        return false;
    struct termios raw = before;
    raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
    raw.c_cflag |= CS8;
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (!restores_at_exit) {
        restores_at_exit = true;
        atexit(term_restore);
    }
    atomic_store(&is_raw, true); /* first: a signal in between restores what is there already */
    if (tcsetattr(fd, TCSANOW, &raw) < 0) {
        atomic_store(&is_raw, false);
        return false;
    }
    return true;
}

void term_restore(void)
{
    int saved = errno;
    /* One of several callers does it; one in the background must not (the shell has set the terminal for itself). */
    if (atomic_exchange(&is_raw, false) && foreground(raw_fd))
        tcsetattr(raw_fd, TCSANOW, &before);
    errno = saved;
}

void term_continued(void)
{
    if (raw_fd < 0)
        return;
    atomic_store(&is_raw, false); /* the shell has set the terminal since, if it stopped us */
    term_raw(raw_fd);
}

bool term_size(int fd, uint16_t *columns, uint16_t *rows)
{
    struct winsize w;
    if (ioctl(fd, TIOCGWINSZ, &w) < 0 || !w.ws_col || !w.ws_row)
        return false;
    *columns = w.ws_col;
    *rows = w.ws_row;
    return true;
}

size_t term_escape_filter(struct term_escape *e, uint8_t *data, size_t n, bool *quit)
{
    size_t out = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = data[i];
        if (!e->armed && c == CTRL_A) {
            e->armed = true;
            continue;
        }
        if (e->armed && c == 'x') {
            e->armed = false;
            *quit = true;
            return out;
        }
        e->armed = false;
        data[out++] = c;
    }
    return out;
}
