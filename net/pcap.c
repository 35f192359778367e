// SPDX-License-Identifier: MIT
/* Captures: see include/net/pcap.h. */
#include "net/pcap.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "kvm/host/log.h"
#include "kvm/host/stream.h"
#include "net/offload.h"

enum {
    PCAP_CATCH_UP_MS = 3000,
};

enum state {
    WRITING,
    WAITING, /* a FIFO without a viewer */
    OVER,    /* trouble, said already */
};

struct pcap {
    struct port_watch watch; /* first */
    struct port *port;
    struct loop *loop;
    const char *name, *path;
    int fd;
    bool file; /* a regular one: whole records only, by taking back the last */
    enum state state;
    struct stream_out *behind; /* a file that may stall: its writer */
    off_t whole;               /* bytes of whole records, as long as nothing is behind */
    uint64_t looked;           /* for a viewer */
    uint64_t frames, missed;
    struct loop_fd out; /* watched while a record's rest is kept */
    size_t rest, at;    /* rest[at..] of the record that the FIFO took in part */
    uint8_t kept[PCAP_FILE_HEADER + PCAP_RECORD_HEADER + PORT_FRAME_MAX];
};

struct file_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, sigfigs, snaplen, linktype;
};
_Static_assert(sizeof(struct file_header) == PCAP_FILE_HEADER, "file layout");
struct record_header {
    uint32_t seconds, nanoseconds, captured, length;
};
_Static_assert(sizeof(struct record_header) == PCAP_RECORD_HEADER, "file layout");

static const struct file_header file_header = {0xa1b23c4d, 2, 4, 0, 0, 262144, 1};

/* Gives the writer this much time at the end. */
static void catch_up(struct pcap *p)
{
    struct timespec ms = {.tv_nsec = 1000000};
    stream_out_notify_empty(p->behind);
    for (unsigned i = 0;
         i < PCAP_CATCH_UP_MS && !stream_out_is_empty(p->behind) && !stream_out_error(p->behind); i++)
        nanosleep(&ms, NULL);
    if (!stream_out_is_empty(p->behind))
        warn("%s: pcap %s: the disk does not take the last frames", p->name, p->path);
}

static void close_out(struct pcap *p, enum state state)
{
    stream_out_free(p->behind);
    p->behind = NULL;
    loop_fd_remove(&p->out);
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    p->rest = p->at = 0;
    p->state = state;
}

/* What a writer that failed has left: whole records up to here. */
static off_t walk(const struct pcap *p)
{
    struct record_header head;
    struct stat st;
    off_t at = p->whole;
    if (fstat(p->fd, &st) < 0)
        return at;
    while (pread(p->fd, &head, sizeof head, at) == sizeof head && head.captured <= PORT_FRAME_MAX &&
           (off_t)(sizeof head + head.captured) <= st.st_size - at)
        at += (off_t)(sizeof head + head.captured);
    return at;
}

static void over(struct pcap *p, int error)
{
    if (p->behind)
        p->whole = walk(p);
    if (p->file && ftruncate(p->fd, p->whole) < 0)
        warn("%s: pcap %s: its last record is cut short", p->name, p->path);
    warn("%s: pcap %s: %s (the capture ends here, the guest goes on)", p->name, p->path, strerror(error));
    close_out(p, OVER);
}

static void on_room(void *arg, uint32_t events);

static void on_error(void *arg, int error)
{
    over(arg, error);
}

static void fall_behind(struct pcap *p)
{
    static const struct stream_out_ops ops = {.error = on_error};
    if (!(p->behind = stream_out_new(p->loop, p->fd, PCAP_BEHIND, &ops, p)))
        over(p, errno);
}

static void put_behind(struct pcap *p, const struct iovec *iov, int n, size_t len)
{
    if (stream_out_room(p->behind) < len) {
        p->missed++;
        return;
    }
    for (int i = 0; i < n; i++)
        stream_out_write(p->behind, iov[i].iov_base, iov[i].iov_len);
    p->frames++;
}

/* All or, for a FIFO, as much as there is room for, with the rest kept. */
static void put(struct pcap *p, const struct iovec *iov, int n, size_t len)
{
    ssize_t done;
    if (p->behind) {
        put_behind(p, iov, n, len);
        return;
    }
    uint64_t start = loop_now(p->loop);
    do
        done = writev(p->fd, iov, n);
    while (done < 0 && errno == EINTR);
    if (done < 0 && errno == EAGAIN && !p->file) {
        p->missed++;
        return;
    }
    if (done < 0 && errno == EPIPE && !p->file) { /* the viewer went */
        p->missed++;
        close_out(p, WAITING);
        return;
    }
    if (done < 0 || ((size_t)done < len && p->file)) {
        over(p, done < 0 ? errno : ENOSPC);
        return;
    }
    p->frames++;
    p->whole += (off_t)len;
    if (p->file && loop_now(p->loop) - start >= PCAP_STALL)
        fall_behind(p);
    if ((size_t)done == len)
        return;
    size_t skip = (size_t)done;
    for (int i = 0; i < n; i++) {
        size_t from = skip < iov[i].iov_len ? skip : iov[i].iov_len;
        memcpy(p->kept + p->rest, (const uint8_t *)iov[i].iov_base + from, iov[i].iov_len - from);
        p->rest += iov[i].iov_len - from;
        skip -= from;
    }
    if (!loop_fd_add(p->loop, &p->out, p->fd, EPOLLOUT, on_room, p))
        over(p, errno);
}

static void on_room(void *arg, uint32_t events)
{
    struct pcap *p = arg;
    (void)events;
    ssize_t n = write(p->fd, p->kept + p->at, p->rest - p->at);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        close_out(p, WAITING);
        return;
    }
    p->at += (size_t)n;
    if (p->at == p->rest) {
        p->at = p->rest = 0;
        loop_fd_remove(&p->out);
    }
}

/* true: somebody reads, and has the file's header. */
static bool has_viewer(struct pcap *p)
{
    uint64_t now = loop_now(p->loop);
    if (p->looked && now - p->looked < PCAP_LOOK_AGAIN)
        return false;
    p->looked = now;
    p->fd = open(p->path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (p->fd < 0)
        return false;
    fcntl(p->fd, F_SETPIPE_SZ, 1 << 20);
    if (write(p->fd, &file_header, sizeof file_header) != sizeof file_header) {
        close_out(p, WAITING);
        return false;
    }
    p->state = WRITING;
    return true;
}

static void record(struct pcap *p, const struct iovec *iov, int n)
{
    struct iovec out[PORT_IOV_MAX + 2];
    struct timespec now;
    size_t len = offload_length(iov, n);
    if (p->state == OVER)
        return;
    if ((p->state == WAITING && !has_viewer(p)) || p->rest || len > PORT_FRAME_MAX) {
        p->missed++;
        return;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    struct record_header head = {(uint32_t)now.tv_sec, (uint32_t)now.tv_nsec, (uint32_t)len, (uint32_t)len};
    out[0] = (struct iovec){&head, sizeof head};
    if (n < IOV_MAX) {
        memcpy(out + 1, iov, (size_t)n * sizeof *iov);
        put(p, out, n + 1, sizeof head + len);
        return;
    }
    uint8_t *flat = malloc(len); /* more pieces than writev() takes: rare enough */
    size_t at = 0;
    if (!flat) {
        p->missed++;
        return;
    }
    for (int i = 0; i < n; at += iov[i++].iov_len)
        memcpy(flat + at, iov[i].iov_base, iov[i].iov_len);
    out[1] = (struct iovec){flat, len};
    put(p, out, 2, sizeof head + len);
    free(flat);
}

static void on_frame(struct port_watch *watch, const struct iovec *iov, int n, const struct port_meta *meta)
{
    struct pcap *p = (struct pcap *)watch;
    struct iovec out[PORT_IOV_MAX + 1];
    uint8_t header[OFFLOAD_HEADER_MAX];
    struct offload o;
    if (!(meta->flags & PORT_NEEDS_CSUM) && meta->gso_type == PORT_GSO_NONE) {
        record(p, iov, n);
        return;
    }
    if (offload_plan(&o, iov, n, meta) != PORT_DROP_NONE) { /* it was taken, so it is shown */
        record(p, iov, n);
        return;
    }
    for (unsigned i = 0; i < o.segments; i++)
        record(p, out, offload_segment(&o, i, header, iov, n, out));
}

/* Somebody else answers for what is in it, at his leisure. */
static bool may_hang(int fd)
{
    static const uint32_t types[] = {0x6969 /* NFS */,
                                     0xff534d42 /* CIFS */,
                                     0xfe534d42 /* SMB2 */,
                                     0x65735546 /* FUSE */,
                                     0x01021997 /* 9p */,
                                     0x00c36400 /* Ceph */,
                                     0x5346414f /* AFS */};
    struct statfs fs;
    for (size_t i = 0; fstatfs(fd, &fs) == 0 && i < sizeof types / sizeof *types; i++)
        if ((uint32_t)fs.f_type == types[i])
            return true;
    return false;
}

struct pcap *pcap_new(struct loop *loop, const char *name, const char *path, char *err, size_t err_size)
{
    struct pcap *p = calloc(1, sizeof *p);
    struct stat st;
    if (!p) {
        snprintf(err, err_size, "%s: pcap %s: out of memory", name, path);
        return NULL;
    }
    *p = (struct pcap){.watch = {on_frame}, .loop = loop, .name = name, .path = path, .fd = -1};
    bool fifo = stat(path, &st) == 0 && S_ISFIFO(st.st_mode);
    if (fifo) {
        p->state = WAITING;
        if (has_viewer(p) || errno == ENXIO)
            return p;
    } else {
        const int flags = O_CREAT | O_TRUNC | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
        p->fd = open(path, O_RDWR | flags, 0644);
        if (p->fd < 0 && errno == EACCES) /* only walk() reads */
            p->fd = open(path, O_WRONLY | flags, 0644);
    }
    if (p->fd >= 0 && fstat(p->fd, &st) == 0 &&
        write(p->fd, &file_header, sizeof file_header) == sizeof file_header) {
        p->file = S_ISREG(st.st_mode);
        p->whole = sizeof file_header;
        if (p->file && may_hang(p->fd))
            fall_behind(p);
        return p;
    }
    snprintf(err, err_size, "%s: pcap %s: %s (name a file that can be written, or a FIFO)", name, path,
             strerror(errno));
    if (p->fd >= 0)
        close(p->fd);
    free(p);
    return NULL;
}

void pcap_watch(struct pcap *p, struct port *port)
{
    p->port = port;
    port->watch = &p->watch;
}

void pcap_print(struct pcap *p, FILE *out)
{
    static const char *const words[] = {
        [WRITING] = "", [WAITING] = ", nobody reads the FIFO", [OVER] = ", over"};
    fprintf(out, "  pcap %s: %llu frames, %llu missed%s%s\n", p->path, (unsigned long long)p->frames,
            (unsigned long long)p->missed, words[p->state], p->behind ? ", written by a thread" : "");
}

void pcap_free(struct pcap *p)
{
    if (!p)
        return;
    if (p->port && p->port->watch == &p->watch)
        p->port->watch = NULL;
    if (p->behind)
        catch_up(p);
    close_out(p, OVER);
    free(p);
}
