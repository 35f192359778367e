/* SPDX-License-Identifier: MIT
 *
 * What the ways to print an option table share.
 */
#ifndef KVM_HOST_OPTS_PRIV_H
#define KVM_HOST_OPTS_PRIV_H

#include "kvm/host/opts.h"

/* Whether the option belongs in a help. */
bool opts_listed(const struct opt *o);
/* What its value is called: "FILE", "serial|none". */
const char *opts_value_name(const struct opt *o);

#endif
