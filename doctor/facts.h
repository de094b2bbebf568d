/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef DOCTOR_FACTS_H
#define DOCTOR_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "backends/ruleset.h"
#include "base/addr.h"
#include "conf/conf.h"
#include "daemon/network.h"
#include "daemon/wan.h"
#include "doctor/legacy.h"

/** What was seen of the daemon. */
enum facts_daemon_state {
	FACTS_DAEMON_RUNS,
	FACTS_DAEMON_ABSENT,	/* nobody listens at its control socket */
	FACTS_DAEMON_FORBIDDEN, /* we may not ask */
	FACTS_DAEMON_STRANGE,	/* no answer in time, or none that we understand */
};

#define FACTS_PROBLEMS_MAX 24
#define FACTS_CODE_SIZE 32
#define FACTS_PROBLEM_SIZE 256
#define FACTS_WORD_SIZE 32

/** A problem that the daemon has found itself. */
struct facts_problem {
	char code[FACTS_CODE_SIZE];
	char text[FACTS_PROBLEM_SIZE];
};

struct facts_daemon {
	enum facts_daemon_state state;
	char reason[FACTS_PROBLEM_SIZE]; /* unless it runs */
	size_t problem_count;
	struct facts_problem problems[FACTS_PROBLEMS_MAX];
	struct ip_addr external; /* that clients are told; none = not known */
	char backend[FACTS_WORD_SIZE];
};

/** What a file of the kernel said. */
enum fact {
	FACT_UNKNOWN,
	FACT_NO,
	FACT_YES,
};

/** Of /proc and /lib/modules. */
struct facts_kernel {
	enum fact forwarding4;
	enum fact forwarding6;
	enum fact wan_forwarding;	    /* IPv4, of that interface */
	enum fact lan_forwarding[LANS_MAX]; /* the same */
	enum fact wan_strict;		    /* rp_filter = 1 there, or everywhere */
	enum fact conntrack;		    /* it is there now */
	enum fact conntrack_module;	    /* it can be loaded */
	enum fact iptables_module;	    /* the same */
};

struct facts_firewall {
	int error;			 /* of ruleset_read() */
	const struct ruleset *ruleset;	 /* NULL on error */
	struct legacy_table legacy[2];	 /* filter of iptables-legacy: IPv4, IPv6 */
	struct legacy_table translation; /* nat, IPv4 */
};

/** One for each LAN. */
#define FACTS_ANSWERS_MAX LANS_MAX

/** Another gateway that answered a search. */
struct facts_answer {
	uint32_t lan; /* index */
	struct ip_addr host;
};

struct facts_search {
	bool done[LANS_MAX];	/* it was searched there */
	bool flooded[LANS_MAX]; /* and more came than could be looked at */
	size_t count;
	struct facts_answer answers[FACTS_ANSWERS_MAX];
};

/** Everything that checks look at. */
struct facts {
	bool root; /* we may read firewalls */
	bool has_systemd;
	const char *conf_file;
	char socket[CONF_PATH_MAX];	 /* where the daemon was asked */
	int conf_code;			 /* of conf_load() */
	char conf_error[CONF_ERROR_MAX]; /* "" = the configuration is good */
	struct conf conf;		 /* in force, as far as it can be known */
	struct facts_daemon daemon;
	int links_error;
	struct links links;
	int network_error; /* of network_choose(); then the network is not known */
	char network_text[CONF_ERROR_MAX];
	struct network network;
	struct facts_kernel kernel;
	struct facts_firewall firewall;
	struct facts_search search;
};

/** Is iptables the backend in force, or would it be? auto takes nftables first. */
bool facts_use_iptables(const struct facts *facts);

#endif
