/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_PLAN_LAB_H
#define TEST_UNIT_PLAN_LAB_H

#include <stdint.h>

#include "conf/conf.h"
#include "daemon/plan.h"
#include "daemon/table.h"

/* A lease table on virtual time, and requests of PCP to it, as tests write them. */

#define C1 "192.168.77.2"
#define C2 "192.168.77.3"
#define V6 "2001:db8:77::2"
#define WAN "203.0.113.1"
#define LIFETIME_S 7200
#define LIFETIME_MS INT64_C(7200000)

struct plan_lab {
	struct table *table;
	struct conf conf;
	struct verdict verdict;
	struct plan_context context;
	struct request request;
	struct plan plan;	   /* of the last request */
	uint16_t used_port;	   /* of the gateway itself */
	struct port_range used;	   /* that the owner gives away by rules of its own */
	unsigned int looks;	   /* times it was asked for such */
	struct ip_addr server;	   /* ours, in every request */
	unsigned int changes_last; /* of the last request that was decided */
};

int plan_lab_setup(void **state);
int plan_lab_teardown(void **state);

struct ip_addr lab_address(const char *text);
/** Fill in a request of PCP; the test then changes what it is about. */
struct request *lab_ask(struct plan_lab *lab, enum request_op op, const char *host,
			uint16_t internal_port, uint16_t external_port);
/** Add "198.51.100.0/24" with a port, 0 = any, to the request. */
void lab_filter(struct plan_lab *lab, const char *prefix, uint16_t port);
/** Decide the request, and do in the table what was decided. */
enum result lab_decide(struct plan_lab *lab);
/** Both in one. */
enum result lab_map(struct plan_lab *lab, const char *host, uint16_t internal_port,
		    uint16_t external_port);
/** Make a lease as IGD, NAT-PMP or the owner would. */
const struct lease *lab_make(struct plan_lab *lab, enum origin origin, const char *host,
			     uint16_t internal_port, uint16_t external_port);

/** What was granted. */
uint16_t lab_get_port(const struct plan_lab *lab);
uint32_t lab_get_lifetime_s(const struct plan_lab *lab);
/** A lease as it stands in the table; NULL = none. */
const struct lease *lab_find(const struct plan_lab *lab, const char *host,
			     uint16_t internal_port);

#endif
