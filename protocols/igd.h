/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_IGD_H
#define PROTOCOLS_IGD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "protocols/request.h"
#include "protocols/soap.h"
#include "protocols/worker.h"

/*
 * The services of an Internet gateway as tables. One table says what a service can do:
 * the SCPD document, the check of arguments and the dispatch all read it, so what is
 * advertised is what works (DESC-6).
 */

/** Arguments of one direction of an action; AddPortMapping has 8. */
#define IGD_ARGS_MAX 8
/** Values that a state variable may have. */
#define IGD_ALLOWED_MAX 8
/** Longest lease an IGD client gets, and what lease 0 becomes, seconds (IGD-14,
 * IGD-15). */
#define IGD_LEASE_MAX_S 604800u

/** dataType of a state variable. */
enum igd_type {
	IGD_STRING,
	IGD_BOOLEAN,
	IGD_UI2,
	IGD_UI4,
};

/** What a handler may look at besides its arguments. Borrowed for the call. */
struct igd_context {
	const struct wan_info *wan;
	const struct lan_info *lan;	/* the LAN the call came from */
	const char *default_connection; /* value of DefaultConnectionService (IGD-60) */
	const struct table_info *table;
	struct ip_addr client;
	/** Of the type asked for: whose rules apply, whatever the device is (IGD-5). */
	uint8_t version;
	int64_t now_ms;
};

/** What a service document says of a number; handlers check it. high 0 = nothing. */
struct igd_range {
	uint32_t low;
	uint32_t high;
	uint8_t since; /* version of the service that says it */
};

struct igd_var {
	const char *name;
	enum igd_type type;
	bool evented; /* by the service's document; whether we do is the face's word */
	/** Write the value of now; NULL where only core knows or it is an argument
	 * type. */
	void (*read)(const struct igd_context *context, struct writer *out);
	const char *allowed[IGD_ALLOWED_MAX]; /* ends with NULL; empty = anything */
	uint8_t since; /* version of the service that brought it; 0 = the first */
	struct igd_range range;
	bool clipped; /* an argument longer than SOAP_VALUE_MAX is taken without its
		       * end; for all others it is an error (SOAP-4) */
};

struct igd_arg {
	const char *name; /* NULL ends the list */
	const char *var;  /* relatedStateVariable */
};

/** An in-argument, checked against the type of its variable. */
struct igd_value {
	const char *text;
	size_t length;
	uint32_t number; /* BOOLEAN 0 or 1, UI2, UI4 */
};

/** Out-arguments in the order of the table. */
struct igd_output {
	size_t count;
	size_t used;
	uint16_t offsets[IGD_ARGS_MAX];
	char text[768];
};

enum igd_state {
	IGD_DONE,  /* output is the answer */
	IGD_ASK,   /* core decides: send request, then igd_action_finish() */
	IGD_FAULT, /* error is the answer */
};

struct igd_answer {
	enum igd_state state;
	uint16_t error;
	struct igd_output output;
	struct request request;
};

struct igd_action {
	const char *name;
	/**
	 * Answer, or fill answer->request and set its state. NULL: the out-arguments
	 * are the state variables they are related to. Errors: UPnP error code, 0 =
	 * none.
	 */
	uint16_t (*start)(const struct igd_context *context, const struct igd_value *in,
			  struct igd_answer *answer);
	/**
	 * Turn core's successful reply into out-arguments, by the rules of the version
	 * asked for; NULL: there are none. Errors: UPnP error code, 0 = none.
	 */
	uint16_t (*finish)(const struct reply *reply, uint8_t version,
			   struct igd_output *output);
	struct igd_arg in[IGD_ARGS_MAX];
	struct igd_arg out[IGD_ARGS_MAX];
	uint16_t range_error; /* for a number too large; 0 = 601 (SOAP-4) */
	uint8_t since; /* version of the service that brought it; 0 = the first */
	bool listing;  /* its one out-argument is gathered from replies (IGD-34) */
};

/** Whose codes say what core answered: columns of protocols/status.c. */
enum igd_codes {
	IGD_CODES_CONNECTION, /* by the version asked for (IGD-5) */
	IGD_CODES_FIREWALL,
};

struct igd_service {
	const char *name; /* "WANIPConnection" */
	uint8_t version;
	const char *id; /* last part of the serviceId, and of our URLs: "WANIPConn1" */
	bool modern;	/* not shown to clients that http_agent_is_legacy() names */
	enum igd_codes codes;
	/* Rows with a later `since` than the version are not the service's. */
	const struct igd_var *vars;
	size_t var_count;
	const struct igd_action *actions;
	size_t action_count;
};

const struct igd_service *igd_get_wanip1(void);
const struct igd_service *igd_get_wanip2(void);
const struct igd_service *igd_get_v6fc1(void);
const struct igd_service *igd_get_wancic1(void);
const struct igd_service *igd_get_l3f1(void);

const struct igd_action *igd_service_find_action(const struct igd_service *service,
						 const char *name);
const struct igd_var *igd_service_find_var(const struct igd_service *service,
					   const char *name);
/** True when some variable is evented by the service's document (DESC-3). */
bool igd_service_has_events(const struct igd_service *service);
/**
 * The version that a control request of this service type asks for: our name, a version
 * not above ours (SOAP-2). 0 = it is not ours to answer.
 */
uint8_t igd_service_parse_type(const struct igd_service *service, const char *type);

/** Argument of QueryStateVariable (SOAP-9). */
#define IGD_QUERY_ARGUMENT "varName"

/**
 * Which arguments of a call to the service are worth keeping: those that its action
 * has, and where it is none of the service's, that of QueryStateVariable (SOAP-3).
 */
struct soap_filter igd_service_get_filter(const struct igd_service *service);

/** Check arguments and run the action (SOAP-4) by the rules of context->version; the
 * result is in *answer. */
void igd_action_start(const struct igd_context *context,
		      const struct igd_service *service,
		      const struct igd_action *action, const struct soap_call *call,
		      struct igd_answer *answer);
/** errorDescription of a UPnPError code: the services use some codes differently. */
const char *igd_service_get_error_text(const struct igd_service *service,
				       uint16_t code);

/** A call that core was asked for, as much as its reply needs. */
struct igd_call {
	const struct igd_service *service;
	const struct igd_action *action;
	uint8_t version; /* of the type asked for */
};

/** Core's reply to the request that igd_action_start() asked for. */
void igd_action_finish(const struct igd_call *call, const struct reply *reply,
		       struct igd_answer *answer);

/**
 * QueryStateVariable (SOAP-9): answer at once, or name in *action the action without
 * arguments that gets the value.
 */
void igd_service_query(const struct igd_context *context,
		       const struct igd_service *service, const char *name,
		       const struct igd_action **action, struct igd_answer *answer);

/** Append one out-argument; one that does not fit becomes empty. */
void igd_output_add(struct igd_output *output, const char *text);
void igd_output_add_number(struct igd_output *output, uint64_t value);
const char *igd_output_get(const struct igd_output *output, size_t index);

#endif
