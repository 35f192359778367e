/* SPDX-License-Identifier: MIT
 *
 * Registers of the 16550A and their bits, as the PC16550D data sheet spells them; for devices/serial.c alone.
 */
#ifndef DEVICES_SERIAL_BITS_H
#define DEVICES_SERIAL_BITS_H

#include "mem/regs.h"

/* clang-format off */
enum {
    RBR = 0, /* also THR; DLL when LCR.DLAB */
    IER = 1, /* DLM when LCR.DLAB */
    IIR = 2, /* also FCR */
    LCR = 3,
    MCR = 4,
    LSR = 5,
    MSR = 6,
    SCR = 7,

    IER_ERBFI = 0x01,
    IER_ETBEI = 0x02,
    IER_ELSI = 0x04,
    IER_EDSSI = 0x08,

    IIR_NONE = 0x01,
    IIR_MODEM = 0x00,
    IIR_THRE = 0x02,
    IIR_RDA = 0x04,
    IIR_RLS = 0x06,
    IIR_TIMEOUT = 0x0c,
    IIR_FIFOS = 0xc0,

    FCR_ENABLE = 0x01,
    FCR_RX_RESET = 0x02,

    LCR_BREAK = 0x40,
    LCR_DLAB = 0x80,

    MCR_DTR = 0x01,
    MCR_RTS = 0x02,
    MCR_OUT1 = 0x04,
    MCR_OUT2 = 0x08,
    MCR_LOOP = 0x10,

    LSR_DR = 0x01,
    LSR_OE = 0x02,
    LSR_BI = 0x10,
    LSR_THRE = 0x20,
    LSR_TEMT = 0x40,
    LSR_FIFO_ERROR = 0x80,

    MSR_DELTAS = 0x0f,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80,
};

static const struct reg_bits ier_bits[] = {
    {"ERBFI", 0, 1}, {"ETBEI", 1, 1}, {"ELSI", 2, 1}, {"EDSSI", 3, 1}, {0}};
static const struct reg_bits iir_bits[] = {
    {"NONE", 0, 1}, {"ID", 1, 3}, {"FIFO", 6, 2}, {0}};
static const struct reg_bits fcr_bits[] = {
    {"ENABLE", 0, 1}, {"RX_RESET", 1, 1}, {"TX_RESET", 2, 1}, {"DMA", 3, 1}, {"TRIGGER", 6, 2}, {0}};
static const struct reg_bits lcr_bits[] = {
    {"WLS", 0, 2}, {"STB", 2, 1}, {"PEN", 3, 1}, {"EPS", 4, 1}, {"STICK", 5, 1}, {"BREAK", 6, 1}, {"DLAB", 7, 1}, {0}};
static const struct reg_bits mcr_bits[] = {
    {"DTR", 0, 1}, {"RTS", 1, 1}, {"OUT1", 2, 1}, {"OUT2", 3, 1}, {"LOOP", 4, 1}, {0}};
static const struct reg_bits lsr_bits[] = {
    {"DR", 0, 1}, {"OE", 1, 1}, {"PE", 2, 1}, {"FE", 3, 1}, {"BI", 4, 1}, {"THRE", 5, 1}, {"TEMT", 6, 1},
    {"FIFOERR", 7, 1}, {0}};
static const struct reg_bits msr_bits[] = {
    {"DCTS", 0, 1}, {"DDSR", 1, 1}, {"TERI", 2, 1}, {"DDCD", 3, 1}, {"CTS", 4, 1}, {"DSR", 5, 1}, {"RI", 6, 1},
    {"DCD", 7, 1}, {0}};
/* clang-format on */

#endif
