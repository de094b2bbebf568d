/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef PROTOCOLS_IGD_MAPPING_H
#define PROTOCOLS_IGD_MAPPING_H

#include <stdint.h>

#include "protocols/igd.h"

/*
 * What WANIPConnection does with port mappings: arguments to requests, replies to
 * arguments. Each is a handler of struct igd_action, with its errors.
 */

uint16_t igd_mapping_start_add(const struct igd_context *context,
			       const struct igd_value *in, struct igd_answer *answer);
uint16_t igd_mapping_start_add_any(const struct igd_context *context,
				   const struct igd_value *in,
				   struct igd_answer *answer);
uint16_t igd_mapping_start_delete(const struct igd_context *context,
				  const struct igd_value *in,
				  struct igd_answer *answer);
uint16_t igd_mapping_start_delete_range(const struct igd_context *context,
					const struct igd_value *in,
					struct igd_answer *answer);
uint16_t igd_mapping_start_get(const struct igd_context *context,
			       const struct igd_value *in, struct igd_answer *answer);
uint16_t igd_mapping_start_index(const struct igd_context *context,
				 const struct igd_value *in, struct igd_answer *answer);
uint16_t igd_mapping_start_list(const struct igd_context *context,
				const struct igd_value *in, struct igd_answer *answer);

/** LeaseDuration of an entry. Units: seconds. */
uint32_t igd_mapping_get_lease_s(const struct reply *reply, uint8_t version);
/** The port that AddAnyPortMapping got. */
uint16_t igd_mapping_finish_add_any(const struct reply *reply, uint8_t version,
				    struct igd_output *output);
/** An entry without its key, and with it. */
uint16_t igd_mapping_finish_get(const struct reply *reply, uint8_t version,
				struct igd_output *output);
uint16_t igd_mapping_finish_index(const struct reply *reply, uint8_t version,
				  struct igd_output *output);

#endif
