/* SPDX-License-Identifier: MIT
 *
 * A capture of all frames that pass a port, in both directions, in the pcap format with nanoseconds. Frames are written
 * as they would be on a wire: a segmentation or checksum that was left to somebody is done first, so that no viewer shows a
 * checksum as bad that only was not there yet. Frames that were dropped or refused did not pass.
 *
 * Each frame is in the kernel's hands before it goes on (one write), so that a crash of the process, or its being killed, loses
 * nothing and the file ends with a whole record. That write goes to the page cache of a file, and nobody waits for who is
 * slow:
 *
 *   - A disk that has once made a write wait for PCAP_STALL, and any file system that asks another machine or program, is written
 *     by a thread (kvm/host/stream.h) out of PCAP_BEHIND bytes. What does not fit is missing, and counted; a process that is
 *     killed then loses what the thread had not got to.
 *   - FILE may be a FIFO, with a viewer or without. Frames that nobody reads, or not fast enough, are missing from the capture,
 *     counted, and hold up nothing. A viewer may come late or again and gets a header first.
 *   - A disk that is full: the record that was begun is taken back, one warning, and the capture is over.
 *
 * Set-up and loop thread. Source: draft-ietf-opsawg-pcap (magic 0xa1b23c4d, LINKTYPE_ETHERNET).
 */
#ifndef NET_PCAP_H
#define NET_PCAP_H

#include <stdio.h>

#include "net/port.h"

enum {
    PCAP_FILE_HEADER = 24,
    PCAP_RECORD_HEADER = 16,
};
enum {
    PCAP_BEHIND = 4 << 20,
};
#define PCAP_STALL      UINT64_C(20000000)  /* ns */
#define PCAP_LOOK_AGAIN UINT64_C(100000000) /* ns between two looks for a viewer, if there are frames */

struct pcap;

/* name: for messages. The file is made or emptied. NULL and a sentence. */
struct pcap *pcap_new(struct loop *loop, const char *name, const char *path, char *err, size_t err_size)
    __attribute__((warn_unused_result));
/* From now on, until pcap_free() or another watch. */
void pcap_watch(struct pcap *p, struct port *port);
void pcap_print(struct pcap *p, FILE *out);
/* The port may be gone already if port_free() has been called on it. NULL is fine. */
void pcap_free(struct pcap *p);

#endif
