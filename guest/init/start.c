// SPDX-License-Identifier: MIT
/* Where the kernel enters, and what a compiler and the rest of init expect of a C library. */
#include "sys.h"

#include <stdarg.h>

__asm__(".globl _start\n"
        "_start:\n"
        "    xorl %ebp, %ebp\n"
        "    movq %rsp, %rdi\n"
        "    andq $-16, %rsp\n"
        "    call start_c\n"
        "    hlt\n");

__attribute__((used)) _Noreturn void start_c(long *stack);
void start_c(long *stack)
{
    int argc = (int)stack[0];
    char **argv = (char **)(stack + 1);
    int code = init_main(argc, argv, argv + argc + 1);
    for (;;)
        SYS(exit_group, code);
}

/* The compiler may turn any loop into calls of these, so they are written with string instructions. */
void *memcpy(void *to, const void *from, size_t n)
{
    void *ret = to;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
    return ret;
}

void *memmove(void *to, const void *from, size_t n)
{
    if ((uintptr_t)to - (uintptr_t)from >= n)
        return memcpy(to, from, n);
    for (volatile uint8_t *t = to; n; n--)
        t[n - 1] = ((const uint8_t *)from)[n - 1];
    return to;
}

void *memset(void *to, int byte, size_t n)
{
    void *ret = to;
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(byte) : "memory");
    return ret;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const volatile uint8_t *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

size_t strlen(const char *s)
{
    const volatile char *end = s;
    while (*end)
        end++;
    return (size_t)(end - s);
}

size_t text_join(char *out, size_t size, ...)
{
    size_t at = 0;
    va_list ap;
    va_start(ap, size);
    for (const char *part; (part = va_arg(ap, const char *));)
        while (*part && at < size - 1)
            out[at++] = *part++;
    va_end(ap);
    out[at] = 0;
    return at;
}

const char *text_number(char out[24], unsigned long n)
{
    char *p = out + 23;
    *p = 0;
    do {
        *--p = (char)('0' + n % 10);
        n /= 10;
    } while (n);
    return p;
}

uint64_t now_ms(void)
{
    struct {
        long seconds, nanoseconds;
    } t = {0, 0};
    SYS(clock_gettime, 1 /* CLOCK_MONOTONIC */, &t);
    return (uint64_t)t.seconds * 1000 + (uint64_t)t.nanoseconds / 1000000;
}

const char *text_error(long error)
{
    static const struct {
        int number;
        const char *text;
    } texts[] = {
        {EPERM,        "Operation not permitted"                                      },
        {ENOENT,       "No such file or directory"                                    },
        {ESRCH,        "No such process"                                              },
        {EIO,          "Input/output error"                                           },
        {ENXIO,        "No such device or address"                                    },
        {E2BIG,        "Argument list too long"                                       },
        {ENOEXEC,      "Exec format error"                                            },
        {EAGAIN,       "Resource temporarily unavailable"                             },
        {ENOMEM,       "Cannot allocate memory"                                       },
        {EACCES,       "Permission denied"                                            },
        {EBUSY,        "Device or resource busy"                                      },
        {EEXIST,       "File exists"                                                  },
        {ENODEV,       "No such device"                                               },
        {ENOTDIR,      "Not a directory"                                              },
        {EISDIR,       "Is a directory"                                               },
        {EINVAL,       "Invalid argument"                                             },
        {ENFILE,       "Too many open files in system"                                },
        {ETXTBSY,      "Text file busy"                                               },
        {ENOSPC,       "No space left on device"                                      },
        {ENAMETOOLONG, "File name too long"                                           },
        {ENOSYS,       "Function not implemented"                                     },
        {ELOOP,        "Too many levels of symbolic links"                            },
        {ELIBBAD,      "Accessing a corrupted shared library"                         },
        {ENOKEY,       "Required key not available (the kernel wants signed modules)" },
        {EKEYREJECTED, "Key was rejected by service (the kernel wants signed modules)"},
    };
    static char other[48];
    char number[24];
    if (error < 0)
        error = -error;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i].number == error)
            return texts[i].text;
    text_join(other, sizeof other, "error ", text_number(number, (unsigned long)error), NULL);
    return other;
}
