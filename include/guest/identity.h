/* SPDX-License-Identifier: MIT
 *
 * Who the guest's command is: its environment and its user, from --env and --user. Set-up thread; what it makes lives as
 * long as the process.
 *
 *   environment   PATH, HOME, USER, SHELL; TERM, COLORTERM, LANG, LC_ALL and TZ as vmlet's own; then each --env, which
 *                 replaces what is there: NAME=VALUE, or NAME alone for the value that vmlet itself has
 *   user          NAME or UID, and perhaps :GROUP or :GID, looked up in the host's /etc/passwd and /etc/group (the guest has
 *                 none): a number needs no entry there, and without a group takes its user's, else the same number.
 *                 HOME is / then, since the guest has no home for anybody but root
 *
 * Names are read from the files alone: the C library's own look-up loads plug-ins, which a static program has not.
 */
#ifndef GUEST_IDENTITY_H
#define GUEST_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct identity {
    char *const *env; /* NULL-terminated */
    uint32_t uid, gid;
};

/* env: NULL-terminated, or NULL; user: NULL is root. passwd, group: those files. False: a sentence in err. */
bool identity_make(struct identity *identity, const char *const *env, const char *user, const char *passwd,
                   const char *group, char *err, size_t err_size) __attribute__((warn_unused_result));
void identity_free(struct identity *identity); /* for tests: a process has one command */

#endif
