// SPDX-License-Identifier: MIT
/*
 * A Linux driver for edu (devices/edu.c), small enough to read in one go: one BAR, one interrupt by MSI or INTx, DMA both
 * ways, and all that a driver owes the kernel when its device goes away while it is in use.
 *
 *   /dev/eduN                       the device's 4096-byte buffer: write() is DMA from RAM, read() DMA to RAM
 *   /sys/bus/pci/devices/…/factorial   write n: the device computes n! and interrupts; read: the result
 *   …/raise                         write: raises these causes; …/interrupts: count, last causes, `msi` or `intx`
 *
 * parameter msi=0: INTx.
 *
 * Whoever uses the device holds `lock`, and finds `bar` NULL once it is gone. The struct lives as long as an open file or the
 * device needs it (kref); what belongs to the PCI function (BAR, interrupt, DMA memory) goes with the function.
 */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/kref.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

enum {
    EDU_ID = 0x00,
    EDU_LIVENESS = 0x04,
    EDU_FACTORIAL = 0x08,
    EDU_STATUS = 0x20,
    EDU_STATUS_IRQFACT = 0x80,
    EDU_INTR_STATUS = 0x24,
    EDU_INTR_RAISE = 0x60,
    EDU_INTR_ACK = 0x64,
    EDU_DMA_SRC = 0x80,
    EDU_DMA_DST = 0x88,
    EDU_DMA_CNT = 0x90,
    EDU_DMA_CMD = 0x98,
    EDU_CMD_RUN = 1,
    EDU_CMD_FROM_EDU = 2,
    EDU_CMD_IRQ = 4,
    EDU_IRQ_FACT = 0x001,
    EDU_IRQ_DMA = 0x100,
    EDU_BUFFER = 0x40000,
    EDU_BUFFER_SIZE = 4096,
    EDU_DMA_BITS = 28,
};

static bool msi = true;
module_param(msi, bool, 0444);
MODULE_PARM_DESC(msi, "use MSI where it is offered (default), or INTx");

struct edu {
    struct kref kref;
    struct mutex lock; /* one user at a time; and `bar` */
    struct pci_dev *pdev;
    void __iomem *bar; /* NULL: the device is gone */
    void *dma;         /* EDU_BUFFER_SIZE bytes that the device can reach */
    dma_addr_t dma_addr;
    struct completion fact_done, dma_done;
    atomic_t interrupts;
    u32 causes; /* of the last interrupt */
    int id;
    char name[16];
    struct miscdevice misc;
};

static DEFINE_IDA(edu_ids);

static void edu_release(struct kref *kref)
{
    struct edu *e = container_of(kref, struct edu, kref);
    ida_free(&edu_ids, e->id);
    kfree(e);
}

/* Level-triggered and perhaps shared: what is not ours is left alone, and ours is acknowledged before it is served. */
static irqreturn_t edu_interrupt(int irq, void *data)
{
    struct edu *e = data;
    u32 causes = ioread32(e->bar + EDU_INTR_STATUS);

    if (!causes || causes == ~0u) /* nothing, or nobody there */
        return IRQ_NONE;
    iowrite32(causes, e->bar + EDU_INTR_ACK);
    WRITE_ONCE(e->causes, causes);
    atomic_inc(&e->interrupts);
    if (causes & EDU_IRQ_FACT)
        complete(&e->fact_done);
    if (causes & EDU_IRQ_DMA)
        complete(&e->dma_done);
    return IRQ_HANDLED;
}

/* `lock` held. */
static int edu_wait(struct edu *e, struct completion *done)
{
    return wait_for_completion_timeout(done, 2 * HZ) ? 0 : -ETIMEDOUT;
}

/* ---- the buffer ---- */

static int edu_transfer(struct edu *e, bool from_edu, u32 offset, u32 count)
{
    reinit_completion(&e->dma_done);
    iowrite32(from_edu ? EDU_BUFFER + offset : (u32)e->dma_addr, e->bar + EDU_DMA_SRC);
    iowrite32(from_edu ? (u32)e->dma_addr : EDU_BUFFER + offset, e->bar + EDU_DMA_DST);
    iowrite32(count, e->bar + EDU_DMA_CNT);
    iowrite32(EDU_CMD_RUN | EDU_CMD_IRQ | (from_edu ? EDU_CMD_FROM_EDU : 0), e->bar + EDU_DMA_CMD);
    return edu_wait(e, &e->dma_done);
}

static ssize_t edu_io(struct file *file, char __user *to, const char __user *from, size_t count, loff_t *pos)
{
    struct edu *e = file->private_data;
    ssize_t result;

    if (*pos < 0 || *pos >= EDU_BUFFER_SIZE)
        return to ? 0 : -ENOSPC;
    count = min_t(size_t, count, EDU_BUFFER_SIZE - *pos);
    if (mutex_lock_interruptible(&e->lock))
        return -ERESTARTSYS;
    if (!e->bar)
        result = -ENODEV;
    else if (from && copy_from_user(e->dma, from, count))
        result = -EFAULT;
    else
        result = edu_transfer(e, to, *pos, count);
    if (!result && to && copy_to_user(to, e->dma, count))
        result = -EFAULT;
    mutex_unlock(&e->lock);
    if (result)
        return result;
    *pos += count;
    return count;
}

static ssize_t edu_read(struct file *file, char __user *to, size_t count, loff_t *pos)
{
    return edu_io(file, to, NULL, count, pos);
}

static ssize_t edu_write(struct file *file, const char __user *from, size_t count, loff_t *pos)
{
    return edu_io(file, NULL, from, count, pos);
}

static int edu_open(struct inode *inode, struct file *file)
{
    struct edu *e =
        container_of(file->private_data, struct edu, misc); /* set by the misc layer, which holds its lock */
    kref_get(&e->kref);
    file->private_data = e;
    return 0;
}

static int edu_close(struct inode *inode, struct file *file)
{
    struct edu *e = file->private_data;
    kref_put(&e->kref, edu_release);
    return 0;
}

static loff_t edu_llseek(struct file *file, loff_t offset, int whence)
{
    return fixed_size_llseek(file, offset, whence, EDU_BUFFER_SIZE);
}

static const struct file_operations edu_fops = {
    .owner = THIS_MODULE,
    .open = edu_open,
    .release = edu_close,
    .read = edu_read,
    .write = edu_write,
    .llseek = edu_llseek,
};

/* ---- sysfs: the files go before the device does ---- */

static ssize_t factorial_store(struct device *dev, struct device_attribute *attr, const char *buf,
                               size_t count)
{
    struct edu *e = dev_get_drvdata(dev);
    u32 n;
    int error = kstrtou32(buf, 0, &n);

    if (error)
        return error;
    mutex_lock(&e->lock);
    reinit_completion(&e->fact_done);
    iowrite32(EDU_STATUS_IRQFACT, e->bar + EDU_STATUS);
    iowrite32(n, e->bar + EDU_FACTORIAL);
    error = edu_wait(e, &e->fact_done);
    mutex_unlock(&e->lock);
    return error ? error : count;
}

static ssize_t factorial_show(struct device *dev, struct device_attribute *attr, char *buf)
{
    struct edu *e = dev_get_drvdata(dev);
    return sysfs_emit(buf, "%u\n", ioread32(e->bar + EDU_FACTORIAL));
}
static DEVICE_ATTR_RW(factorial);

static ssize_t raise_store(struct device *dev, struct device_attribute *attr, const char *buf, size_t count)
{
    struct edu *e = dev_get_drvdata(dev);
    u32 causes;
    int error = kstrtou32(buf, 0, &causes);

    if (error)
        return error;
    iowrite32(causes, e->bar + EDU_INTR_RAISE);
    return count;
}
static DEVICE_ATTR_WO(raise);

static ssize_t interrupts_show(struct device *dev, struct device_attribute *attr, char *buf)
{
    struct edu *e = dev_get_drvdata(dev);
    return sysfs_emit(buf, "%d 0x%x %s\n", atomic_read(&e->interrupts), READ_ONCE(e->causes),
                      e->pdev->msi_enabled ? "msi" : "intx");
}
static DEVICE_ATTR_RO(interrupts);

static struct attribute *edu_attrs[] = {&dev_attr_factorial.attr, &dev_attr_raise.attr,
                                        &dev_attr_interrupts.attr, NULL};
ATTRIBUTE_GROUPS(edu);

/* ---- come and go ---- */

static int edu_start(struct edu *e)
{
    struct pci_dev *pdev = e->pdev;
    int error = pcim_enable_device(pdev);

    if (!error)
        error = pcim_iomap_regions(pdev, BIT(0), "edu");
    if (error)
        return error;
    e->bar = pcim_iomap_table(pdev)[0];
    if ((ioread32(e->bar + EDU_ID) & 0xff) != 0xed)
        return dev_err_probe(&pdev->dev, -ENODEV, "no edu behind BAR 0\n");
    iowrite32(0x12345678, e->bar + EDU_LIVENESS);
    if (ioread32(e->bar + EDU_LIVENESS) != ~0x12345678u)
        return dev_err_probe(&pdev->dev, -EIO, "not alive\n");

    error = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(EDU_DMA_BITS));
    if (error)
        return error;
    e->dma = dmam_alloc_coherent(&pdev->dev, EDU_BUFFER_SIZE, &e->dma_addr, GFP_KERNEL);
    if (!e->dma)
        return -ENOMEM;
    pci_set_master(pdev);

    iowrite32(~0u, e->bar + EDU_INTR_ACK); /* what its last driver left */
    error = pci_alloc_irq_vectors(pdev, 1, 1, msi ? PCI_IRQ_ALL_TYPES : PCI_IRQ_LEGACY);
    if (error < 0)
        return error;
    error = request_irq(pci_irq_vector(pdev, 0), edu_interrupt, IRQF_SHARED, e->name, e);
    if (error)
        pci_free_irq_vectors(pdev);
    return error;
}

static int edu_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
    struct edu *e = kzalloc(sizeof(*e), GFP_KERNEL);
    int error;

    if (!e)
        return -ENOMEM;
    kref_init(&e->kref);
    mutex_init(&e->lock);
    init_completion(&e->fact_done);
    init_completion(&e->dma_done);
    e->pdev = pdev;
    e->id = ida_alloc(&edu_ids, GFP_KERNEL);
    if (e->id < 0) {
        error = e->id;
        kfree(e);
        return error;
    }
    snprintf(e->name, sizeof(e->name), "edu%d", e->id);
    pci_set_drvdata(pdev, e);
    error = edu_start(e);
    if (!error) {
        e->misc = (struct miscdevice){
            .minor = MISC_DYNAMIC_MINOR, .name = e->name, .fops = &edu_fops, .parent = &pdev->dev};
        error = misc_register(&e->misc);
        if (error) {
            free_irq(pci_irq_vector(pdev, 0), e);
            pci_free_irq_vectors(pdev);
        }
    }
    if (error)
        kref_put(&e->kref, edu_release);
    else
        dev_info(&pdev->dev, "%s: interrupt %d (%s)\n", e->name, pci_irq_vector(pdev, 0),
                 pdev->msi_enabled ? "MSI" : "INTx");
    return error;
}

static void edu_remove(struct pci_dev *pdev)
{
    struct edu *e = pci_get_drvdata(pdev);

    misc_deregister(&e->misc);
    mutex_lock(&e->lock); /* a transfer that is under way ends first */
    free_irq(pci_irq_vector(pdev, 0), e);
    pci_free_irq_vectors(pdev);
    pci_clear_master(pdev);
    e->bar = NULL;
    mutex_unlock(&e->lock);
    kref_put(&e->kref, edu_release);
}

static const struct pci_device_id edu_table[] = {{PCI_DEVICE(0x1234, 0x11e8)}, {0}};
MODULE_DEVICE_TABLE(pci, edu_table);

static struct pci_driver edu_driver = {
    .name = "edu",
    .id_table = edu_table,
    .probe = edu_probe,
    .remove = edu_remove,
    .dev_groups = edu_groups,
};
module_pci_driver(edu_driver);

MODULE_DESCRIPTION("QEMU's and vmlet's teaching device");
MODULE_LICENSE("Dual MIT/GPL");
