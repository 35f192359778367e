/* SPDX-License-Identifier: MIT
 *
 * A PCI function, as the author of a device sees it. The instance's struct begins with a struct pci_device, which
 * begins with the struct device:
 *
 *     struct edu { struct pci_device pci; … };
 *
 * and the class says who it is, what it decodes and how it interrupts:
 *
 *     .bus = PCI_FUNCTION(.ids = {.vendor = 0x1234, .device = 0x11e8, .class_code = 0x00ff00, .pin = 1},
 *                         .bars = {{PCI_BAR_MEM32, .bank = 0}}, .msi_plain = true, .causes = offsetof(struct edu, irq)),
 *
 * All of that stands when its init() is called, and so does the option `addr=SLOT[.FUNCTION]`. What is not known before the
 * options are, init() says itself, by the functions below that PCI_FUNCTION() stands for. A device keeps nothing
 * that follows from its configuration bytes: where its BARs are, whether it is a bus master, which interrupts
 * are on, is asked of the bytes at the moment of use. Everything below is set-up, but for what is
 * marked (lock): called from device code, with the device's lock held.
 */
#ifndef PCI_DEVICE_H
#define PCI_DEVICE_H

#include "kvm/host/opts.h"
#include "kvm/irq.h"
#include "mem/device.h"
#include "mem/region.h"
#include "mem/view.h"
#include "pci/config.h"

struct pci_bus;

struct pci_ids {
    uint16_t vendor, device;
    uint16_t subsystem_vendor, subsystem; /* 0, 0: 1af4:1100, as QEMU's devices have */
    uint32_t class_code;                  /* base class << 16 | subclass << 8 | interface */
    uint8_t revision;
    uint8_t pin; /* 1-4: INTA#-INTD#; 0: none */
};

enum pci_bar_kind {
    PCI_BAR_NONE,
    PCI_BAR_IO,
    PCI_BAR_MEM32,
    PCI_BAR_MEM64, /* takes two slots */
    PCI_BAR_MEM64_PREFETCH,
    PCI_BAR_ROM, /* number PCI_ROM only */
};
enum {
    PCI_ROM = 6,
    PCI_BARS = 7,
    PCI_MSI_MAX = 32, /* vectors of a function */
    PCI_MSIX_MAX = 128,
};

struct pci_bar {
    struct region *region; /* added to the bus's container once; moved and enabled ever after */
    uint64_t size;         /* a power of two */
    enum pci_bar_kind kind;
};

struct pci_device {
    struct device dev; /* first */
    struct pci_bus *bus;
    uint8_t devfn;        /* slot << 3 | function */
    const char *addr;     /* option addr=, or NULL */
    uint16_t config_size; /* PCI_CONFIG_SIZE or _EXPRESS */
    uint8_t cap_end;      /* where the next capability goes */
    bool intx;            /* asserted by the device, whatever INTX_DISABLE says */
    bool spurious;        /* asserted by nobody: a fault, see pci_spurious() */
    uint8_t msi, msix;    /* where these capabilities are; 0: none */
    uint8_t power;        /* the same of power management */
    uint8_t n_msi, n_msix;
    struct irq_line line;
    int routes[PCI_MSIX_MAX], msi_routes[PCI_MSI_MAX]; /* kvm/irq.h */
    struct region msix_region;
    uint32_t msix_table[PCI_MSIX_MAX][4]; /* address low and high, data, vector control */
    uint32_t msix_pending[PCI_MSIX_MAX / 32];
    /* What became of pci_raise(). */
    uint64_t irq_sent, irq_held,
        irq_dropped;  /* messages; masked; bus mastering off or an address that is none */
    struct space dma; /* bus-master space, for dma_read() and friends */
    char dma_name[48];
    struct pci_bar bars[PCI_BARS];
    /* For registers in configuration space that do something: before bytes reg to reg + size are read, after they were
     * written. Lock held. NULL: none. */
    void (*read_hook)(struct pci_device *pci, unsigned reg, unsigned size);
    void (*written_hook)(struct pci_device *pci, unsigned reg, unsigned size);
    /* For who has vectors signalled by others (pci_vector_fd()): the guest wrote to the MSI-X table or turned it on or
     * off. Lock held. NULL: none. */
    void (*vectors_hook)(struct pci_device *pci);
    /* Bus mastering was switched on, and the bus-master space shows memory again: for who was told of work meanwhile and found
     * nothing there. Lock held. NULL: none. */
    void (*master_hook)(struct pci_device *pci);
    uint8_t config[PCI_CONFIG_SIZE_EXPRESS];
    uint8_t writable[PCI_CONFIG_SIZE_EXPRESS];
    uint8_t w1c[PCI_CONFIG_SIZE_EXPRESS];
};

/* A function as a const table, and the class's .bus made of it. */
struct pci_function {
    struct device_bus bus; /* first */
    struct pci_ids ids;
    struct {
        enum pci_bar_kind kind;
        uint8_t bank; /* of the class's register banks: which one it shows */
    } bars[PCI_BARS];
    bool power;      /* pci_power() */
    bool msi_plain;  /* pci_msi_unmaskable() */
    uint8_t msi;     /* pci_msi() with so many vectors; 0: none */
    uint32_t causes; /* offset in the instance of what pci_causes_raise() is about; 0: nothing */
};
/* clang-format off */
#define PCI_FUNCTION(...) (&(const struct pci_function){.bus = {pci_bus_options, pci_function_init}, __VA_ARGS__}.bus)
/* clang-format on */

extern const struct opt pci_bus_options[]; /* addr= */
const char *pci_function_init(struct device *dev, struct board *board);

/* The device as a function of PCI; NULL: it is none. */
struct pci_device *pci_device_of(struct device *dev);

/* The header, a slot, the INTx line and the bus-master space. NULL, or a sentence (in dev->error). */
const char *pci_device_init(struct pci_device *pci, struct board *board, const struct pci_ids *ids);

/* BAR number 0-5 (or PCI_ROM) shows region, whose size is rounded up to a power of two (16 bytes at least; I/O: 4; ROM: 2
 * KiB). */
void pci_bar(struct pci_device *pci, unsigned number, enum pci_bar_kind kind, struct region *region);

/* Room for a capability of size bytes (its two header bytes included), put in front of the list; returns its
 * offset. The rest of it is zero and read-only until the caller says otherwise in config and writable. */
unsigned pci_capability(struct pci_device *pci, uint8_t id, unsigned size);

/* Interrupts. A device raises vectors and does not know what is on: MSI-X and MSI send a message at each call of
 * pci_raise(), or set the pending bit of a masked vector; INTx is asserted until pci_lower(), for all vectors alike.
 * Messages are memory writes: with bus mastering off they are dropped, and counted. */
void pci_raise(struct pci_device *pci, unsigned vec); /* (lock) */
void pci_lower(struct pci_device *pci);               /* (lock) */
/* For functions that have why they interrupt in one field of 32 bits (lock). Each raise with a cause pending is an
 * interrupt; INTx falls with the last one that is acknowledged. Both are made to be a register's .write. */
void pci_causes_raise(struct device *dev, unsigned index, uint64_t causes);
void pci_causes_ack(struct device *dev, unsigned index, uint64_t causes);
/* The field; NULL: the class names none. */
const uint32_t *pci_causes(const struct device *dev);
/* A transfer to RAM or from there (lock). Refused, it changes nothing and is told as the guest's fault, with the reason. */
bool pci_dma(struct pci_device *pci, bool to_ram, uint64_t gpa, void *buf, size_t len);

/* An eventfd that sends MSI-X vector vec without us, for vhost and the like (lock); -1: it is to be raised by
 * pci_raise(), because it is masked, or there is none, or MSI-X is off, or bus mastering, or somebody watches the
 * device. Changes with each of these: vectors_hook. */
int pci_vector_fd(struct pci_device *pci, unsigned vec);
/* For fault injection (lock). An interrupt without a cause: one message, or the line up until `on` is false. And one as it
 * would have gone, without a watcher's say. */
void pci_spurious(struct pci_device *pci, bool on);
void pci_raise_anyway(struct pci_device *pci, unsigned vec);

/* Offers MSI with this many vectors (1, 2, 4 … PCI_MSI_MAX; more are raised modulo what the guest enables), or
 * MSI-X, whose table and pending bits are a BAR of their own. NULL, or a sentence: no routes are left. */
const char *pci_msi(struct pci_device *pci, unsigned vectors);
const char *
pci_msi_unmaskable(struct pci_device *pci); /* one vector without a mask bit, as older cards have */
const char *pci_msix(struct pci_device *pci, unsigned bar, unsigned vectors);

/* Power management, D0 and D3hot: in D3hot a function decodes nothing and masters nothing. PCI Express, as an
 * endpoint of the root complex: 4 KiB of configuration space. */
void pci_power(struct pci_device *pci);
void pci_express(struct pci_device *pci);

static inline bool pci_is_awake(const struct pci_device *pci) /* (lock) in D0 */
{
    return !pci->power || !(pci->config[pci->power + PCI_POWER_CONTROL] & PCI_POWER_STATE);
}
static inline bool pci_is_master(const struct pci_device *pci) /* (lock) */
{
    return pci->config[PCI_COMMAND] & PCI_COMMAND_MASTER && pci_is_awake(pci);
}
static inline unsigned pci_slot(const struct pci_device *pci)
{
    return pci->devfn >> 3;
}

#endif
