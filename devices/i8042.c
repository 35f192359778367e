/* SPDX-License-Identifier: MIT
 *
 * The keyboard controller of a PC/AT without keyboard and mouse: what is left is the reset line (command 0xfe, or bit 0 of
 * the output port), and honest, quick answers for whoever probes: self-test and port tests pass, and a byte sent to a
 * device that is not there comes back as a time-out at once. The FADT says that there is no 8042 (IAPC_BOOT_ARCH), so that
 * Linux spends no exits on it, but still resets through port 0x64.
 *
 * One byte of output buffer; a new answer replaces an unread one, so a flood of commands keeps nothing.
 * Source: IBM PC/AT Technical Reference, keyboard controller; PS/2 Hardware Interface Technical Reference.
 */
#include "devices/platform.h"

#include "kvm/irq.h"
#include "mem/device.h"

enum {
    STS_OBF = 0x01,
    STS_SYS = 0x04,
    STS_CMD = 0x08,
    STS_UNLOCKED = 0x10,
    STS_AUX = 0x20,
    STS_TIMEOUT = 0x40,

    CFG_KBD_IRQ = 0x01,
    CFG_AUX_IRQ = 0x02,
    CFG_SYS = 0x04,
    CFG_KBD_OFF = 0x10,
    CFG_AUX_OFF = 0x20,
    CFG_XLATE = 0x40,

    CMD_READ_RAM = 0x20,  /* -0x3f */
    CMD_WRITE_RAM = 0x60, /* -0x7f */
    CMD_AUX_OFF = 0xa7,
    CMD_AUX_ON = 0xa8,
    CMD_AUX_TEST = 0xa9,
    CMD_SELF_TEST = 0xaa,
    CMD_KBD_TEST = 0xab,
    CMD_KBD_OFF = 0xad,
    CMD_KBD_ON = 0xae,
    CMD_READ_IN = 0xc0,
    CMD_READ_OUT = 0xd0,
    CMD_WRITE_OUT = 0xd1,
    CMD_KBD_LOOP = 0xd2,
    CMD_AUX_LOOP = 0xd3,
    CMD_TO_AUX = 0xd4,
    CMD_PULSE = 0xf0, /* -0xff: bits that are 0 pulse low; bit 0 is the reset line */

    OUT_NOT_RESET = 0x01,
    OUT_A20 = 0x02,

    KBD_GSI = 1,
    AUX_GSI = 12,
};

struct i8042 {
    struct device dev;
    struct irq_line kbd, aux;
    uint8_t status, data, command, out_port;
    uint8_t ram[32]; /* [0]: the configuration byte */
};

static struct i8042 *to_kbc(struct device *dev)
{
    return (struct i8042 *)dev;
}

static void update_irq(struct i8042 *k)
{
    bool full = k->status & STS_OBF, from_aux = k->status & STS_AUX;

    irq_line_set(&k->kbd, full && !from_aux && (k->ram[0] & CFG_KBD_IRQ));
    irq_line_set(&k->aux, full && from_aux && (k->ram[0] & CFG_AUX_IRQ));
}

static void answer(struct i8042 *k, uint8_t data, uint8_t status)
{
    k->data = data;
    k->status = (uint8_t)((k->status & ~(STS_AUX | STS_TIMEOUT)) | STS_OBF | status);
}

static uint64_t data_read(struct device *dev, unsigned index)
{
    struct i8042 *k = to_kbc(dev);
    (void)index;

    k->status &= (uint8_t) ~(STS_OBF | STS_AUX | STS_TIMEOUT);
    update_irq(k);
    return k->data;
}

static void reset_line(struct i8042 *k, bool high)
{
    if (!high)
        board_end(k->dev.board, BOARD_REBOOT, 0);
}

static void data_write(struct device *dev, unsigned index, uint64_t value)
{
    struct i8042 *k = to_kbc(dev);
    uint8_t command = k->command;
    (void)index;

    k->command = 0;
    k->status &= (uint8_t)~STS_CMD;
    if (command >= CMD_WRITE_RAM && command < CMD_WRITE_RAM + 32) {
        k->ram[command & 31] = (uint8_t)value;
        if (command == CMD_WRITE_RAM)
            k->status = (uint8_t)((k->status & ~STS_SYS) | (value & CFG_SYS));
    } else if (command == CMD_WRITE_OUT) {
        k->out_port = (uint8_t)value | OUT_NOT_RESET;
        reset_line(k, value & OUT_NOT_RESET);
    } else if (command == CMD_KBD_LOOP) {
        answer(k, (uint8_t)value, 0);
    } else if (command == CMD_AUX_LOOP) {
        answer(k, (uint8_t)value, STS_AUX);
    } else if (command == CMD_TO_AUX) {
        answer(k, 0xfe, STS_AUX | STS_TIMEOUT);
    } else {
        k->ram[0] &= (uint8_t)~CFG_KBD_OFF; /* sending to the keyboard enables it */
        answer(k, 0xfe, STS_TIMEOUT);
    }
    update_irq(k);
}

static uint64_t status_read(struct device *dev, unsigned index)
{
    (void)index;
    return to_kbc(dev)->status;
}

static void command_write(struct device *dev, unsigned index, uint64_t value)
{
    struct i8042 *k = to_kbc(dev);
    uint8_t command = (uint8_t)value;
    (void)index;

    k->status |= STS_CMD;
    k->command = 0;
    switch (command) {
    case CMD_READ_RAM ... CMD_READ_RAM + 31:
        answer(k, k->ram[command & 31], 0);
        break;
    case CMD_WRITE_RAM ... CMD_WRITE_RAM + 31:
    case CMD_WRITE_OUT:
    case CMD_KBD_LOOP:
    case CMD_AUX_LOOP:
    case CMD_TO_AUX:
        k->command = command;
        break;
    case CMD_AUX_OFF:
        k->ram[0] |= CFG_AUX_OFF;
        break;
    case CMD_AUX_ON:
        k->ram[0] &= (uint8_t)~CFG_AUX_OFF;
        break;
    case CMD_KBD_OFF:
        k->ram[0] |= CFG_KBD_OFF;
        break;
    case CMD_KBD_ON:
        k->ram[0] &= (uint8_t)~CFG_KBD_OFF;
        break;
    case CMD_SELF_TEST:
        k->status |= STS_SYS;
        answer(k, 0x55, 0);
        break;
    case CMD_KBD_TEST:
    case CMD_AUX_TEST:
        answer(k, 0x00, 0);
        break;
    case CMD_READ_IN:
        answer(k, 0x80, 0); /* not locked */
        break;
    case CMD_READ_OUT:
        answer(k, k->out_port, 0);
        break;
    case CMD_PULSE ... CMD_PULSE + 15:
        reset_line(k, command & OUT_NOT_RESET);
        break;
    default:
        break;
    }
    update_irq(k);
}

/* clang-format off */
static const struct reg_bits status_bits[] = {
    {"OBF", 0, 1}, {"IBF", 1, 1}, {"SYS", 2, 1}, {"CMD", 3, 1}, {"UNLOCKED", 4, 1}, {"AUX", 5, 1}, {"TIMEOUT", 6, 1},
    {0}};
static const struct reg data_regs[] = {
    {"DATA", 0, 1, .read = data_read, .write = data_write, REG_FIELD(struct i8042, data)},
    {0},
};
static const struct reg command_regs[] = {
    {"STATUS", 0, 1, .flags = REG_RO, .reset = STS_UNLOCKED, .read = status_read, .bits = status_bits,
     REG_FIELD(struct i8042, status)},
    {"COMMAND", 0, 1, .flags = REG_WO, .write = command_write, REG_FIELD(struct i8042, command)},
    {0},
};
/* clang-format on */
static const struct reg_bank data_bank = {
    .name = "data", .size = 1, .regs = data_regs, .region_flags = REGION_SPLIT, .region_sizes = 1};
static const struct reg_bank command_bank = {
    .name = "command", .size = 1, .regs = command_regs, .region_flags = REGION_SPLIT, .region_sizes = 1};

static const char *i8042_init(struct device *dev, struct board *board)
{
    struct i8042 *k = to_kbc(dev);

    irq_line_init(&k->kbd, board->irqs, KBD_GSI, "keyboard");
    irq_line_init(&k->aux, board->irqs, AUX_GSI, "mouse");
    device_map_ports(dev, 0, I8042_DATA);
    device_map_ports(dev, 1, I8042_COMMAND);
    return NULL;
}

static void i8042_reset(struct device *dev)
{
    struct i8042 *k = to_kbc(dev);

    for (unsigned i = 0; i < sizeof(k->ram); i++)
        k->ram[i] = 0;
    k->ram[0] = CFG_KBD_OFF | CFG_AUX_OFF | CFG_XLATE;
    k->out_port = OUT_NOT_RESET | OUT_A20;
    update_irq(k);
}

static const char *i8042_loaded(struct device *dev)
{
    update_irq(to_kbc(dev));
    return NULL;
}

static const struct state_field i8042_state[] = {
    STATE(struct i8042, out_port),
    STATE_ARRAY(struct i8042, ram),
    {0},
};

const struct device_class i8042_class = {
    .name = "i8042",
    .help = "keyboard controller without keyboard: resets the machine",
    .size = sizeof(struct i8042),
    .banks = (const struct reg_bank *const[]){&data_bank, &command_bank, NULL},
    .state = i8042_state,
    .internal = true,
    .single = true,
    .init = i8042_init,
    .reset = i8042_reset,
    .loaded = i8042_loaded,
};
