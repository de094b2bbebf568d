/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor/check.h"

#include <errno.h>
#include <string.h>

static void check_conf(const struct facts *facts, struct findings *findings)
{
	struct finding *finding = findings_add(findings, "config-bad", "");

	if (facts->conf_error[0] == '\0') {
		finding_say(finding, FINDING_OK, "the configuration has no mistake");
		return;
	}
	if (facts->conf_code == -EACCES) {
		finding_say(finding, FINDING_UNKNOWN, "%s: run it as root",
			    facts->conf_error);
		return;
	}
	finding_say(finding, FINDING_PROBLEM, "%s%s", facts->conf_error,
		    facts->daemon.state == FACTS_DAEMON_RUNS
			    ? " (portreeved runs with what it read before)"
			    : " (what follows was judged by the defaults)");
	finding_fix(finding, "portreeved -c %s --check-config",
		    name_is_path(facts->conf_file) ? facts->conf_file : "FILE");
}

/* A file of another place is no service's. */
static void fix_start(const struct facts *facts, struct finding *finding)
{
	const char *file = facts->conf_file;

	if (facts->has_systemd && strcmp(file, CONF_DEFAULT_FILE) == 0) {
		finding_fix(finding, "systemctl start portreeve");
		return;
	}
	finding_fix(finding, "portreeved -c %s", name_is_path(file) ? file : "FILE");
	finding_keep(finding, "have the system start it: it does not go into the "
			      "background by itself");
}

static void check_running(const struct facts *facts, struct findings *findings)
{
	const struct facts_daemon *daemon = &facts->daemon;
	struct finding *finding = findings_add(findings, "daemon-not-running", "");

	switch (daemon->state) {
	case FACTS_DAEMON_RUNS:
		finding_say(finding, FINDING_OK, "portreeved runs, with backend %s",
			    daemon->backend);
		break;
	case FACTS_DAEMON_ABSENT:
		finding_say(finding, FINDING_PROBLEM,
			    "portreeved does not run, or listens elsewhere: %s: %s",
			    facts->socket, daemon->reason);
		fix_start(facts, finding);
		break;
	case FACTS_DAEMON_FORBIDDEN:
		finding_say(finding, FINDING_UNKNOWN,
			    "portreeved may not be asked at %s (%s): run it as root",
			    facts->socket, daemon->reason);
		break;
	case FACTS_DAEMON_STRANGE:
		finding_say(finding, FINDING_PROBLEM,
			    "portreeved does not answer as it should at %s: %s",
			    facts->socket, daemon->reason);
		finding_fix(finding, "%s",
			    facts->has_systemd ? "systemctl restart portreeve"
					       : "portreeve status");
		break;
	}
}

/* What is looked at here too is told once, with what to do. */
static bool problem_is_ours(const struct facts *facts,
			    const struct facts_problem *problem)
{
	static const char *const codes[] = {
		"no-default-route", "default-route-lan", "wan-unknown",
		"wan-missing",	    "wan-no-address",	 "wan-down",
		"wan-private",	    "wan-cgnat",	 "lan-missing",
	};

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (strcmp(codes[i], problem->code) == 0)
			return true;
	/* Who cannot read the firewall has to believe the daemon. */
	return facts->firewall.ruleset &&
	       (strcmp(problem->code, "forward-dropped") == 0 ||
		strcmp(problem->code, "translated-elsewhere") == 0);
}

/* Without what it says of us: who reads that has asked us already. */
static void say_problem(const struct facts_problem *problem, struct finding *finding)
{
	const char *end = strstr(problem->text, "portreeve doctor");
	size_t length = end ? (size_t)(end - problem->text) : strlen(problem->text);

	while (end && length > 0 && strchr(":;, ", problem->text[length - 1]))
		length--;
	finding_say(finding, FINDING_PROBLEM, "portreeved says: %.*s%s", (int)length,
		    problem->text, end ? "; for what to do, run this as root" : "");
}

static void check_degraded(const struct facts *facts, struct findings *findings)
{
	const struct facts_daemon *daemon = &facts->daemon;
	size_t told = 0;

	for (size_t i = 0; i < daemon->problem_count; i++) {
		const struct facts_problem *problem = &daemon->problems[i];

		if (problem_is_ours(facts, problem))
			continue;
		say_problem(problem,
			    findings_add(findings, "daemon-degraded", problem->code));
		told++;
	}
	if (told > 0)
		return;
	if (daemon->state == FACTS_DAEMON_RUNS)
		finding_say(findings_add(findings, "daemon-degraded", ""), FINDING_OK,
			    "portreeved knows of no other problem");
	else
		finding_say(findings_add(findings, "daemon-degraded", ""),
			    FINDING_UNKNOWN,
			    "portreeved could not be asked for its own problems");
}

void check_daemon(const struct facts *facts, struct findings *findings)
{
	check_conf(facts, findings);
	check_running(facts, findings);
	check_degraded(facts, findings);
}
