/* SPDX-License-Identifier: MIT
 *
 * Register tables at work: the index, the checks, storage and side effects of an access. One look-up in the index gives
 * the register; the rest is masks. What watches (hooks) is kept out of the fast path by one branch on a pointer that is
 * almost always NULL.
 */
#include "mem/regs.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mem/device.h"

#define unlikely(x) __builtin_expect(!!(x), 0)

struct hit {
    const struct reg *reg; /* NULL: refused */
    unsigned index;        /* element */
    unsigned lane;         /* bit of the register where the access begins */
    enum reg_fault fault;
};

static uint64_t size_mask(unsigned size)
{
    return size >= 8 ? UINT64_MAX : (1ull << (size * 8)) - 1;
}

static unsigned reg_count(const struct reg *reg)
{
    return reg->count ? reg->count : 1;
}

static uint32_t reg_stride(const struct reg *reg)
{
    return reg->stride ? reg->stride : reg->width;
}

static uint32_t reg_field_stride(const struct reg *reg)
{
    return reg->field_stride ? reg->field_stride : reg->width;
}

static bool reg_ignores_writes(const struct reg *reg)
{
    return !reg->writable && !reg->w1c && !reg->write;
}

static inline bool reg_is_locked(const struct reg *reg, const struct device *dev)
{
    return (reg->job && job_runs(dev, reg->job)) || (reg->locked && reg->locked(dev));
}

/* The job that it starts runs while a bit of this register is set. */
static bool starts_itself(const struct reg *reg)
{
    return reg->field == reg->job->field;
}

uint64_t reg_field_get(const struct device *dev, const struct reg *reg, unsigned index)
{
    uint64_t value = 0;
    if (!reg->field)
        return reg->reset;
    /* the host is little-endian: x86-64 only */
    memcpy(&value, (const char *)dev + reg->field + (size_t)index * reg_field_stride(reg), reg->width);
    return value;
}

void reg_field_set(struct device *dev, const struct reg *reg, unsigned index, uint64_t value)
{
    if (reg->field)
        memcpy((char *)dev + reg->field + (size_t)index * reg_field_stride(reg), &value, reg->width);
}

/* ---- set-up ---- */

static uint64_t reg_end(const struct reg *reg)
{
    return reg->offset + (uint64_t)(reg_count(reg) - 1) * reg_stride(reg) + reg->width;
}

static void reg_check(const struct reg *reg, const struct reg_bank *bank, size_t device_size)
{
    uint64_t mask = size_mask(reg->width);
    uint64_t elements = reg_count(reg) - 1;
    uint64_t last = reg_end(reg);
    uint64_t field_end = reg->field + elements * reg_field_stride(reg) + reg->width;

    assert(reg->width == 1 || reg->width == 2 || reg->width == 4 || reg->width == 8);
    assert(reg->sizes < 2 * reg->width); /* 1 | 2 | 4 | 8: none above the width */
    assert(reg_stride(reg) >= reg->width && reg_field_stride(reg) >= reg->width);
    assert(reg->offset < bank->size && last <= bank->size + 7); /* a wide access may begin at the end */
    assert(!reg->field || (reg->field >= sizeof(struct device) && field_end <= device_size));
    assert(((reg->reset | reg->writable | reg->w1c | reg->clear_on_read) & ~mask) == 0);
    assert(!(reg->writable & reg->w1c));
    assert(reg->field || !reg->reset || (!reg->read && reg->flags & REG_RO));
    assert(reg->field || !(reg->writable | reg->w1c | reg->clear_on_read));
    assert(!((reg->flags & REG_RO) && (reg->flags & REG_WO)));
    assert(!(reg->flags & REG_RO) || reg_ignores_writes(reg));
    assert(!(reg->flags & REG_WO) || !reg->read);
    assert(!(reg->job || reg->locked) || !reg_ignores_writes(reg));
    assert(!(reg->flags & REG_START) ||
           (reg->job && (!starts_itself(reg) || reg->writable & reg->job->busy)));
    assert(reg->page == REG_ANY_PAGE || reg->page < (bank->pages ? bank->pages : 1));
    (void)mask, (void)last, (void)field_end, (void)device_size; /* -DNDEBUG */
}

static uint16_t *index_list(const struct reg_map *map, unsigned page, bool write)
{
    return map->index + (size_t)(page * 2 + write) * map->slots;
}

static void index_add(struct reg_map *map, unsigned page, bool write, const struct reg *reg)
{
    uint16_t *list = index_list(map, page, write);
    uint16_t number = (uint16_t)(reg - map->bank->regs + 1);

    for (unsigned i = 0; i < reg_count(reg); i++) {
        uint32_t first = (reg->offset + i * reg_stride(reg)) >> map->shift;
        for (uint32_t s = first; s < first + (reg->width >> map->shift); s++) {
            assert(list[s] == 0 && "two registers at one offset");
            list[s] = number;
        }
    }
}

static uint64_t map_region_read(void *opaque, uint64_t offset, unsigned size)
{
    return regs_read(opaque, offset, size);
}

static void map_region_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    regs_write(opaque, offset, value, size);
}

bool reg_map_init(struct reg_map *map, struct device *dev, const struct reg_bank *bank, size_t device_size)
{
    unsigned pages = bank->pages ? bank->pages : 1;
    uint64_t grain = 8, end = bank->size;

    memset(map, 0, sizeof(*map));
    map->dev = dev;
    map->bank = bank;
    for (const struct reg *r = bank->regs; r->name; r++) {
        reg_check(r, bank, device_size);
        if (reg_end(r) > end)
            end = reg_end(r);
        grain |= r->offset | r->width | (reg_count(r) > 1 ? reg_stride(r) : 0);
    }
    map->shift = (uint8_t)__builtin_ctzll(grain); /* every register starts and ends on a multiple of this */
    map->slots = (uint32_t)((end + (1u << map->shift) - 1) >> map->shift);
    /* calloc: the index of a large, sparse bank is mostly pages that are never touched */
    map->index = calloc((size_t)pages * 2 * map->slots, sizeof(*map->index));
    if (!map->index)
        return false;
    for (const struct reg *r = bank->regs; r->name; r++) {
        for (unsigned page = 0; page < pages; page++) {
            if (r->page != page && r->page != REG_ANY_PAGE)
                continue;
            if (!(r->flags & REG_WO))
                index_add(map, page, false, r);
            if (!(r->flags & REG_RO))
                index_add(map, page, true, r);
        }
    }
    snprintf(map->name, sizeof(map->name), "%s.%s", dev->id, bank->name);
    map->ops = (struct region_ops){.read = map_region_read,
                                   .write = map_region_write,
                                   .sizes = bank->region_sizes ? bank->region_sizes : 1 | 2 | 4 | 8,
                                   .flags = bank->region_flags};
    region_init_io(&map->region, map->name, bank->size, &map->ops, map, &dev->lock, dev);
    return true;
}

void reg_map_free(struct reg_map *map)
{
    if (map->region.name)
        region_free(&map->region);
    free(map->index);
    map->index = NULL;
}

void regs_reset(struct reg_map *map, bool all)
{
    for (const struct reg *r = map->bank->regs; r->name; r++)
        if (all || !(r->flags & REG_KEEP))
            for (unsigned i = 0; i < reg_count(r); i++)
                reg_field_set(map->dev, r, i, r->reset);
}

/* ---- accesses ---- */

static inline unsigned map_page(const struct reg_map *map)
{
    return map->bank->page ? map->bank->page(map->dev) : 0;
}

static inline struct hit find(struct reg_map *map, uint64_t offset, unsigned size, bool write)
{
    struct hit hit = {.fault = REG_FAULT_HOLE};
    uint64_t slot = offset >> map->shift;

    if (unlikely(slot >= map->slots))
        return hit;
    unsigned page = map_page(map);
    unsigned number = index_list(map, page, write)[slot];
    if (unlikely(!number)) {
        if (index_list(map, page, !write)[slot])
            hit.fault = REG_FAULT_DIRECTION;
        return hit;
    }
    const struct reg *reg = &map->bank->regs[number - 1];
    uint32_t at = (uint32_t)offset - reg->offset;
    if (reg->count > 1) {
        hit.index = at / reg_stride(reg);
        at %= reg_stride(reg);
    }
    if (unlikely(at && reg->flags & REG_LOW))
        return hit;
    if (unlikely(!(size & (reg->sizes ? reg->sizes : reg->width)) || size > reg->width - at)) {
        hit.fault = REG_FAULT_SIZE;
        return hit;
    }
    if (unlikely(write && reg_ignores_writes(reg))) {
        hit.fault = REG_FAULT_DIRECTION;
        return hit;
    }
    if (unlikely(write && reg_is_locked(reg, map->dev))) {
        hit.fault = REG_FAULT_LOCKED;
        return hit;
    }
    hit.reg = reg;
    hit.lane = at * 8;
    return hit;
}

const struct reg *regs_meant(struct reg_map *map, uint64_t offset)
{
    uint64_t slot = offset >> map->shift;

    if (slot >= map->slots)
        return NULL;
    unsigned page = map_page(map);
    unsigned number = index_list(map, page, false)[slot];
    if (!number)
        number = index_list(map, page, true)[slot];
    return number ? &map->bank->regs[number - 1] : NULL;
}

static __attribute__((noinline)) uint64_t refuse(struct reg_map *map, enum reg_fault fault, bool write,
                                                 uint64_t offset, unsigned size, uint64_t value)
{
    struct device *dev = map->dev;
    const struct reg_hooks *hooks = dev->hooks;

    dev->refused[fault]++;
    if (hooks && hooks->refused)
        hooks->refused(hooks->ctx, dev, fault, regs_meant(map, offset), write, offset, size, value);
    return (fault == REG_FAULT_HOLE ? map->bank->hole : UINT64_MAX) & size_mask(size);
}

uint64_t regs_read(struct reg_map *map, uint64_t offset, unsigned size)
{
    struct device *dev = map->dev;
    const struct reg_hooks *hooks = dev->hooks;
    uint64_t value = UINT64_MAX;

    if (unlikely(hooks && hooks->intercept && hooks->intercept(hooks->ctx, map, false, offset, size, &value)))
        return value & size_mask(size);
    struct hit hit = find(map, offset, size, false);
    const struct reg *reg = hit.reg;
    if (unlikely(!reg))
        return refuse(map, hit.fault, false, offset, size, 0);
    value = reg->read ? reg->read(dev, hit.index) : reg_field_get(dev, reg, hit.index);
    if (reg->clear_on_read)
        reg_field_set(dev, reg, hit.index, reg_field_get(dev, reg, hit.index) & ~reg->clear_on_read);
    value = value >> hit.lane & size_mask(size);
    if (unlikely(hooks && hooks->access))
        hooks->access(hooks->ctx, dev, reg, hit.index, false, offset, size, value);
    return value;
}

void regs_write(struct reg_map *map, uint64_t offset, uint64_t value, unsigned size)
{
    struct device *dev = map->dev;
    const struct reg_hooks *hooks = dev->hooks;

    value &= size_mask(size);
    if (unlikely(hooks && hooks->intercept)) {
        uint64_t copy = value;
        if (hooks->intercept(hooks->ctx, map, true, offset, size, &copy))
            return;
    }
    struct hit hit = find(map, offset, size, true);
    const struct reg *reg = hit.reg;
    if (unlikely(!reg)) {
        refuse(map, hit.fault, true, offset, size, value);
        return;
    }
    if (unlikely(hooks && hooks->access))
        hooks->access(hooks->ctx, dev, reg, hit.index, true, offset, size, value);

    uint64_t lanes = reg->flags & REG_LOW ? UINT64_MAX : size_mask(size) << hit.lane;
    uint64_t old = reg_field_get(dev, reg, hit.index);
    uint64_t full = (old & ~lanes & ~reg->w1c) | value << hit.lane;
    if (unlikely(reg->flags & REG_START)) {
        if (starts_itself(reg) && !(full & reg->job->busy))
            return;
        job_start(dev, reg->job);
    }
    if (reg->writable | reg->w1c)
        reg_field_set(dev, reg, hit.index,
                      ((old & ~reg->writable) | (full & reg->writable)) & ~(full & reg->w1c));
    if (reg->write)
        reg->write(dev, hit.index, full);
    if (unlikely(hooks && hooks->written))
        hooks->written(hooks->ctx, dev, reg, hit.index);
}

/* ---- text ---- */

char *reg_bits_text(const struct reg *reg, uint64_t value, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = 0;
    for (const struct reg_bits *b = reg->bits; b && b->name; b++) {
        uint64_t mask = size_mask(8) >> (64 - (b->width ? b->width : 1));
        uint64_t v = value >> b->low & mask;
        const char *blank = n ? " " : "";
        if (!v)
            continue;
        int w = mask == 1 ? snprintf(buf + n, size - n, "%s%s", blank, b->name)
                          : snprintf(buf + n, size - n, "%s%s=%" PRIu64, blank, b->name, v);
        if (w < 0 || (size_t)w >= size - n) {
            buf[n] = 0; /* only whole fields */
            break;
        }
        n += (size_t)w;
    }
    return buf;
}

char *reg_name_text(const struct reg *reg, unsigned index, char *buf, size_t size)
{
    if (reg_count(reg) > 1)
        snprintf(buf, size, "%s[%u]", reg->name, index);
    else
        snprintf(buf, size, "%s", reg->name);
    return buf;
}

void regs_dump(struct reg_map *map, FILE *out)
{
    for (const struct reg *r = map->bank->regs; r->name; r++) {
        bool pure = r->read && (r->flags & REG_PURE);
        for (unsigned i = 0; i < reg_count(r); i++) {
            char name[64], bits[256];
            fprintf(out, "%05" PRIx32 " %-12s ", r->offset + i * reg_stride(r),
                    reg_name_text(r, i, name, sizeof(name)));
            if (!pure && !r->field && !r->reset) {
                fprintf(out, "-\n");
                continue;
            }
            uint64_t value = pure ? r->read(map->dev, i) : reg_field_get(map->dev, r, i);
            reg_bits_text(r, value, bits, sizeof(bits));
            fprintf(out, "0x%0*" PRIx64 "%s%s\n", r->width * 2, value & size_mask(r->width),
                    *bits ? "  " : "", bits);
        }
    }
}
