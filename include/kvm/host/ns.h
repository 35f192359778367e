/* SPDX-License-Identifier: MIT
 *
 * Time in nanoseconds, as everything here counts it: 64 bits without a sign, 584 years. For what takes part in a guest's time,
 * ask its loop or its board, whose clocks tests replace; ns_on() is for the process's own waits.
 */
#ifndef KVM_HOST_NS_H
#define KVM_HOST_NS_H

#include <stdint.h>
#include <time.h>

#define MS     UINT64_C(1000000)
#define SECOND (1000 * MS)

static inline uint64_t ns_of(struct timespec ts)
{
    return (uint64_t)ts.tv_sec * SECOND + (uint64_t)ts.tv_nsec;
}

static inline struct timespec ns_timespec(uint64_t ns)
{
    return (struct timespec){(time_t)(ns / SECOND), (long)(ns % SECOND)};
}

/* What a clock of clock_gettime(2) says; 0 where it says nothing. Any thread. */
static inline uint64_t ns_on(clockid_t clock)
{
    struct timespec ts = {0};
    clock_gettime(clock, &ts);
    return ns_of(ts);
}

#endif
