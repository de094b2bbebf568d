/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_RESULT_H
#define BASE_RESULT_H

/**
 * What became of a request, in the language of leases. The set is closed: every switch
 * over it lists every case, and protocols/status.c holds the one table that turns it
 * into the codes of NAT-PMP, PCP and UPnP.
 */
enum result {
	RESULT_OK,
	RESULT_DENIED,	    /* policy refuses this request */
	RESULT_THIRD_PARTY, /* policy does not let this client ask for another host */
	RESULT_FOREIGN, /* the lease is another host's, static, or guarded by a nonce */
	RESULT_CONFLICT,   /* the very external port asked for is taken */
	RESULT_WITHHELD,   /* it is the gateway's own or its owner's, or never mapped */
	RESULT_NO_PORT,	   /* every external port that policy allows is taken */
	RESULT_QUOTA,	   /* the client holds as many leases as it may */
	RESULT_TABLE_FULL, /* all clients together hold as many leases as they may */
	RESULT_PEERS,	   /* more remote peers than one lease may have */
	RESULT_RATE,	   /* the client asks faster than it may */
	RESULT_NO_ADDRESS, /* there is no external address */
	RESULT_NO_ENTRY,   /* no lease with that key */
	RESULT_NO_INDEX,   /* fewer leases than that index */
	RESULT_BAD_CLIENT, /* internal address is not a host of that LAN */
	RESULT_BAD_PORT,   /* a port number that means nothing here */
	RESULT_NO_MEMORY,
	RESULT_BACKEND, /* the firewall did not take the change */
};

#define RESULT_COUNT (RESULT_BACKEND + 1)

/** Name of a result for logs and JSON, lower case with dashes, e.g. "no-port". */
const char *result_get_name(enum result result);

#endif
