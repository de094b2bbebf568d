/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_RULESET_LAB_H
#define TEST_UNIT_RULESET_LAB_H

#include "backends/ruleset.h"

/*
 * What tests of rulesets share: a network namespace with wan0 and lan0, rulesets that
 * nft and iptables load into it, and packets that never leave.
 */

/** Skips the test where namespaces are not permitted. */
void ruleset_lab_enter(void);
/** Have a program ("nft -f -", "iptables-nft-restore") read the text. Fails loudly. */
void ruleset_lab_load(const char *program, const char *text);
/** Nothing is left of what was loaded. */
void ruleset_lab_flush(void);
/** Owns: caller frees by ruleset_free(). */
struct ruleset *ruleset_lab_read(void);

enum ruleset_lab_kind { LAB_TCP4, LAB_UDP4, LAB_TCP6, LAB_UDP6 };

/** The bit that leases have. */
#define LAB_MARK 0x10000000U

/**
 * The first packet of a lease on its way from wan0 to lan0, with the mark: from
 * 198.51.100.9 or 2001:db8:1::9, port 40000, to 192.168.1.20 or 2001:db8:2::20, port
 * 5000.
 */
struct packet ruleset_lab_make_packet(enum ruleset_lab_kind kind);

/** A ruleset, a packet, and what becomes of it; one row of a table of tests. */
struct ruleset_lab_row {
	const char *name;
	const char *text; /* for the program of the table */
	enum ruleset_lab_kind kind;
	uint32_t mark;
	bool established;
	enum packet_fate fate;
	const char *chain; /* where it ends, unless it passes; NULL: wherever */
};

/**
 * Load, walk and compare each row, at the forward hook; and have a real packet do what
 * was said with certainty, if it is a first one.
 */
void ruleset_lab_check_rows(const char *program, const struct ruleset_lab_row *rows,
			    size_t count);

#endif
