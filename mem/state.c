/* SPDX-License-Identifier: MIT
 *
 * Saved device state: records {name, width, count, data}, in no order that matters. Names are "bank/REGISTER" for backing
 * fields and the field's own for the rest. What is loaded comes from a file, so every length is compared before it is
 * used, and a record must match the class's tables exactly.
 *
 *   u8 length of the name, name, u8 bytes of an element, u32 elements, elements; all little-endian
 */
#include <assert.h>
#include <string.h>

#include "mem/device.h"

/* One thing that can be saved: an array of `count` elements of `width` bytes, `stride` apart, at `at`. */
struct item {
    char name[96];
    uint8_t width;
    uint32_t count, stride;
    char *at;
};

/* Calls fn for each; stops at and returns the first true. */
static bool items(struct device *dev, bool (*fn)(void *arg, const struct item *item), void *arg)
{
    struct item item;

    for (unsigned m = 0; m < dev->n_maps; m++) {
        const struct reg_bank *bank = dev->maps[m].bank;
        for (const struct reg *r = bank->regs; r->name; r++) {
            if (!r->field)
                continue;
            snprintf(item.name, sizeof(item.name), "%s/%s", bank->name, r->name);
            item.width = r->width;
            item.count = r->count ? r->count : 1;
            item.stride = r->field_stride ? r->field_stride : r->width;
            item.at = (char *)dev + r->field;
            if (fn(arg, &item))
                return true;
        }
    }
    for (const struct state_field *f = dev->class->state; f && f->name; f++) {
        snprintf(item.name, sizeof(item.name), "%s", f->name);
        item.width = f->width;
        item.count = f->count ? f->count : 1;
        item.stride = f->stride ? f->stride : f->width;
        item.at = (char *)dev + f->offset;
        if (fn(arg, &item))
            return true;
    }
    return false;
}

struct out {
    char *buf;
    size_t size, n; /* n may pass size: then it only counts */
};

static void put(struct out *out, const void *data, size_t len)
{
    if (out->n < out->size)
        memcpy(out->buf + out->n, data, len < out->size - out->n ? len : out->size - out->n);
    out->n += len;
}

static bool save_item(void *arg, const struct item *item)
{
    struct out *out = arg;
    uint8_t len = (uint8_t)strlen(item->name);

    put(out, &len, 1);
    put(out, item->name, len);
    put(out, &item->width, 1);
    put(out, &item->count, 4);
    for (uint32_t i = 0; i < item->count; i++)
        put(out, item->at + (size_t)i * item->stride, item->width);
    return false;
}

size_t device_save(struct device *dev, void *buf, size_t size)
{
    struct out out = {buf, size, 0};

    device_enter(dev);
    items(dev, save_item, &out);
    lock_drop(&dev->lock);
    return out.n;
}

struct in {
    const char *name, *data;
    uint8_t name_len, width;
    uint32_t count;
    bool mismatch;
};

static bool load_item(void *arg, const struct item *item)
{
    struct in *in = arg;

    if (strlen(item->name) != in->name_len || memcmp(item->name, in->name, in->name_len) != 0)
        return false;
    in->mismatch = item->width != in->width || item->count != in->count;
    for (uint32_t i = 0; !in->mismatch && i < item->count; i++)
        memcpy(item->at + (size_t)i * item->stride, in->data + (size_t)i * item->width, item->width);
    return true;
}

static const char *load_locked(struct device *dev, const char *p, size_t left)
{
    while (left) {
        struct in in = {.name_len = (uint8_t)*p};
        if (left - 1 < (size_t)in.name_len + 5)
            return "saved state is cut off";
        in.name = p + 1;
        in.width = (uint8_t)p[1 + in.name_len];
        memcpy(&in.count, p + 2 + in.name_len, 4);
        in.data = p + 6 + in.name_len;
        left -= 6 + in.name_len;
        if ((uint64_t)in.count * in.width > left)
            return "saved state is cut off";
        if (!items(dev, load_item, &in))
            return "saved state has a field that this device does not have";
        if (in.mismatch)
            return "saved state has a field of another size";
        left -= (size_t)in.count * in.width;
        p = in.data + (size_t)in.count * in.width;
    }
    jobs_loaded(dev);
    return dev->class->loaded ? dev->class->loaded(dev) : NULL;
}

const char *device_load(struct device *dev, const void *buf, size_t size)
{
    const char *sentence;

    device_enter(dev);
    device_reset_locked(dev);
    sentence = load_locked(dev, buf, size);
    if (sentence)
        device_reset_locked(dev);
    lock_drop(&dev->lock);
    return sentence;
}
