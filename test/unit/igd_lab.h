/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef TEST_UNIT_IGD_LAB_H
#define TEST_UNIT_IGD_LAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocols/igd.h"

/* Actions of the IGD services, called as a control point would, with core played. */

#define LAB_CLIENT "192.168.1.20"
#define LAB_CLIENT6 "2001:db8:77::20"
#define LAB_DEFAULT_CONNECTION                                                         \
	"uuid:01000000-0000-0000-0000-000000000012:WANConnectionDevice:1,"             \
	"urn:upnp-org:serviceId:WANIPConn1"

/** What the next action is called with; igd_lab_setup() fills it anew. */
struct igd_lab {
	struct wan_info wan;
	struct table_info table;
	struct lan_info lan;
	struct ip_addr client;
	uint8_t version; /* of the type asked for; 0 = the service's own */
};

struct igd_lab *igd_lab_get(void);
/** cmocka's fixture. */
int igd_lab_setup(void **state);

struct ip_addr igd_lab_addr(const char *text);

/** An argument to be given instead of the usual one; value NULL leaves it out. */
struct igd_lab_arg {
	const char *name;
	const char *value;
};

/** Write `<name>value</name>...` of rows that end with a NULL name, one replaced. */
const char *igd_lab_args(const struct igd_lab_arg *rows,
			 const struct igd_lab_arg *instead);

/** What is answered with this argument instead of the usual one; 0 = no error. */
struct igd_lab_row {
	struct igd_lab_arg arg;
	uint16_t error;
};

/** Call an action with each row's argument, and args for the others. */
void igd_lab_assert_rows(const struct igd_service *service, const char *name,
			 const struct igd_lab_arg *args, const struct igd_lab_row *rows,
			 size_t count);
/** What becomes of NewLeaseDuration in the request to core (IGD-14, IGD-15, CL-29). */
void igd_lab_assert_leases(const struct igd_service *service, const char *name,
			   const struct igd_lab_arg *args);

/** Run an action with `<name>value</name>...` as its arguments. */
void igd_lab_run(const struct igd_service *service, const char *name, const char *args,
		 struct igd_answer *answer);
/** Its error; 0 = none. */
uint16_t igd_lab_error(const struct igd_service *service, const char *name,
		       const char *args);
/** The request that core would get; the test fails when there is none. */
struct request igd_lab_request(const struct igd_service *service, const char *name,
			       const char *args);
/** QueryStateVariable. */
void igd_lab_query(const struct igd_service *service, const char *name,
		   const struct igd_action **action, struct igd_answer *answer);
/** Core's reply: the error that is answered, 0 = none. */
uint16_t igd_lab_finish(const struct igd_service *service, const char *name,
			const struct reply *reply, struct igd_answer *answer);

#endif
