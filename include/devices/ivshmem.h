/* SPDX-License-Identifier: MIT
 *
 * ivshmem-plain: memory that several guests, and the host, share. See devices/ivshmem.c. Only by --device.
 */
#ifndef DEVICES_IVSHMEM_H
#define DEVICES_IVSHMEM_H

extern const struct device_class ivshmem_class;

#endif
