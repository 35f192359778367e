// SPDX-License-Identifier: MIT
/* See timer_heap.h. Links: child_ is the first child, next_ the sibling to the right, prev_ the sibling to the left or, for a
 * first child, the parent. The root has neither siblings nor a parent. */
#include "timer_heap.h"

static struct loop_timer *merge(struct loop_timer *a, struct loop_timer *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    if (b->deadline < a->deadline) {
        struct loop_timer *t = a;
        a = b;
        b = t;
    }
    b->prev_ = a;
    b->next_ = a->child_;
    if (b->next_)
        b->next_->prev_ = b;
    a->child_ = b;
    a->next_ = a->prev_ = NULL;
    return a;
}

/* Two passes: pairs from the left, then all of them from the right. Iterative: a list of children can be
 * long. */
static struct loop_timer *merge_list(struct loop_timer *list)
{
    struct loop_timer *pairs = NULL;
    while (list) {
        struct loop_timer *a = list, *b = a->next_, *rest = b ? b->next_ : NULL;
        a->next_ = a->prev_ = NULL;
        if (b)
            b->next_ = b->prev_ = NULL;
        a = merge(a, b);
        a->next_ = pairs;
        pairs = a;
        list = rest;
    }
    struct loop_timer *root = NULL;
    while (pairs) {
        struct loop_timer *next = pairs->next_;
        pairs->next_ = NULL;
        root = merge(root, pairs);
        pairs = next;
    }
    return root;
}

void timer_heap_put(struct loop_timer **root, struct loop_timer *t)
{
    t->child_ = t->next_ = t->prev_ = NULL;
    *root = merge(*root, t);
}

void timer_heap_take(struct loop_timer **root, struct loop_timer *t)
{
    struct loop_timer *children = merge_list(t->child_);
    if (t == *root) {
        *root = children;
    } else {
        if (t->prev_->child_ == t)
            t->prev_->child_ = t->next_;
        else
            t->prev_->next_ = t->next_;
        if (t->next_)
            t->next_->prev_ = t->prev_;
        *root = merge(*root, children);
    }
    t->child_ = t->next_ = t->prev_ = NULL;
}
