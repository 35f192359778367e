/* SPDX-License-Identifier: MIT
 *
 * Builds a cpio archive of the "newc" form (Linux,
 * Documentation/driver-api/early-userspace/buffer-format.rst) for use as an initramfs. The archive is a list
 * of names until cpio_write() puts it straight to where it is wanted, guest memory as a rule: contents of
 * host files are never held here. Same calls with same files give the same bytes.
 *
 * Names are absolute or not, that makes no difference; `.` and empty parts are dropped, `..` is refused.
 * Folders above a name are made on demand, mode 0755. A part of a name that is a symlink in this archive is
 * followed (so with /bin -> usr/bin, adding /bin/sh adds usr/bin/sh), up to 40 links. A name that is added
 * again takes the new content, except that a folder stays a folder; a folder in place of a file, or a file in
 * place of a folder, is refused.
 *
 * Owner: whoever called cpio_new(). Thread: any, one at a time. Set-up only. All return false on failure; the
 * first failure is kept as a sentence in cpio_error() and makes every later call fail, so that one check at
 * the end is enough.
 */
#ifndef GUEST_CPIO_H
#define GUEST_CPIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct cpio;

struct cpio *cpio_new(void); /* NULL: out of memory */
void cpio_free(struct cpio *c);

bool cpio_dir(struct cpio *c, const char *name, mode_t mode);
bool cpio_symlink(struct cpio *c, const char *name, const char *target);
bool cpio_node(struct cpio *c, const char *name, mode_t type_and_mode, unsigned major, unsigned minor);
/* The bytes are copied, unless they are static: then cpio_static() refers to them. */
bool cpio_bytes(struct cpio *c, const char *name, mode_t mode, const void *bytes, size_t n);
bool cpio_static(struct cpio *c, const char *name, mode_t mode, const void *bytes, size_t n);
/* One regular host file (symlinks followed), with its permissions; read at cpio_write(). A file of another
 * type, or of 4 GiB and more, is refused. */
bool cpio_file(struct cpio *c, const char *name, const char *host_path);
/* A host file or folder with all below it: symlinks as they are (but host_path itself is followed), devices,
 * sockets and FIFOs left out. */
bool cpio_tree(struct cpio *c, const char *name, const char *host_path);

/* Is there such a name? Links are followed in all parts but the last. */
bool cpio_has(struct cpio *c, const char *name);

/* Bytes of the whole archive with its trailer, a multiple of 4. */
uint64_t cpio_size(const struct cpio *c);
/* Writes exactly cpio_size() bytes. Fails when a file can no longer be read or has become shorter. */
bool cpio_write(struct cpio *c, void *out);

const char *cpio_error(const struct cpio *c); /* "" when all went well */

#endif
