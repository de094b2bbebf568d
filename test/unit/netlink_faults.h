/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_NETLINK_FAULTS_H
#define TEST_UNIT_NETLINK_FAULTS_H

#include <stdbool.h>
#include <stddef.h>

/**
 * The socket functions of the C library, in their place for whole program, libraries
 * and all: one call about a netlink socket fails as the kernel could make it fail.
 */
enum fault_kind {
	FAULT_NONE,
	FAULT_SEND,   /* nothing is sent */
	FAULT_ANSWER, /* the kernel refuses what is sent, in its answer */
	FAULT_RECEIVE /* ENOBUFS: what would have come is lost; else it comes later */
};
#define FAULT_KINDS (FAULT_RECEIVE + 1)

/** The k-th call that this kind is about, from 1 on, fails once with that errno. */
void fault_arm(enum fault_kind kind, size_t call, int error);
/** No more of them; true when it has happened. */
bool fault_disarm(void);
bool fault_has_happened(void);
/** While it is held back, calls neither fail nor count. */
void fault_hold(bool held);

#endif
