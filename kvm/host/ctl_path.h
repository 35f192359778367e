/* SPDX-License-Identifier: MIT
 *
 * Where control sockets are, for ctl.c and ctl_client.c. All errors are sentences that live as long as the process. */
#ifndef CTL_PATH_H
#define CTL_PATH_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/un.h>

/* The folder, open, or -1 and *error (NULL with ENOENT if it is not there and !create). *path gets its name. */
int ctl_dir_open(bool create, const char **path, const char **error);

/* NAME.sock in the folder as an address; NULL or an error: the path does not fit. */
const char *ctl_address(const char *dir_path, const char *name, struct sockaddr_un *address);

/* A connection to NAME.sock. -1 and errno: ECONNREFUSED: no process is behind it; ENOTSOCK: something else has this name;
 * EAGAIN: alive, but its queue is full. */
int ctl_connect(int dir, const char *name, const struct sockaddr_un *address, bool block);

#endif
