/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef BASE_CONTROL_H
#define BASE_CONTROL_H

/*
 * The names of the control protocol, doc/control.md. What the methods take and answer
 * is in the interface definition, which the daemon hands out too.
 */

#define CONTROL_INTERFACE "org.portreeve"
#define CONTROL_SOCKET_DEFAULT "/run/portreeve/control.sock"

#define CONTROL_STATUS "org.portreeve.Status"
#define CONTROL_LIST "org.portreeve.List"
#define CONTROL_SHOW "org.portreeve.Show"
#define CONTROL_WATCH "org.portreeve.Watch"
#define CONTROL_ADD "org.portreeve.Add"
#define CONTROL_DELETE "org.portreeve.Delete"
#define CONTROL_RELOAD "org.portreeve.Reload"
#define CONTROL_GET_INFO "org.varlink.service.GetInfo"
#define CONTROL_GET_DESCRIPTION "org.varlink.service.GetInterfaceDescription"

#define CONTROL_ERROR_NOT_FOUND "org.portreeve.NotFound"
#define CONTROL_ERROR_PERMISSION "org.portreeve.PermissionDenied"
#define CONTROL_ERROR_REFUSED "org.portreeve.Refused"
#define CONTROL_ERROR_CONFIGURATION "org.portreeve.BadConfiguration"

/** Leases in one reply of List with `more`: well below VARLINK_REPLY_MAX. */
#define CONTROL_LEASES_PER_REPLY 256

/** The interface definition in the varlink language: the answer of
 * GetInterfaceDescription. */
const char *control_get_description(void);

#endif
