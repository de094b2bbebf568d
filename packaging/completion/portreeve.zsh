#compdef portreeve
# SPDX-License-Identifier: GPL-2.0-or-later
# zsh completion of portreeve(1)

_portreeve_ids() {
	local -a ids
	ids=(${(f)"$(portreeve --timeout 1 --color=never list 2>/dev/null |
		awk '$1 ~ /^[0-9]+$/ { print $1 ":" $2 " " $3 " to " $4 }')"})
	_describe 'lease' ids
}

_portreeve() {
	local -a commands global
	local state line
	commands=(
		'status:say how the gateway is'
		'list:list the leases'
		'show:show everything about one lease'
		'watch:tell what happens to leases'
		'add:open a port'
		'delete:end leases at once'
		'reload:have the configuration read again'
		'probe:ask a gateway for ports as a client does'
		'doctor:find what keeps leases from working'
		'help:tell about a command'
	)
	global=(
		'--socket[control socket of portreeved]:path:_files'
		'--json[answer in JSON]'
		'--color=[colour]:when:(auto always never)'
		'--timeout[how long to wait for an answer]:seconds:'
		'(- *)'{-h,--help}'[show help]'
		'(- *)'{-V,--version}'[show the version]'
	)
	_arguments -C $global '1:command:->command' '*::argument:->argument'
	case $state in
	command) _describe 'command' commands ;;
	argument)
		case $words[1] in
		list)
			_arguments $global '--host[internal address]:address:' \
				'--proto[protocol]:protocol:(tcp udp)' ;;
		show) _arguments $global '1:lease:_portreeve_ids' ;;
		delete)
			_arguments $global '--client[all leases of a host]:address:' \
				'*:lease:_portreeve_ids' ;;
		add)
			_arguments $global '--lifetime[how long]:time:' \
				'--remote[only from there]:address:' \
				'--description[what it is for]:text:' \
				'1:protocol:(tcp udp)' '2:external port:' \
				'3:internal address and port:' ;;
		probe) _arguments $global '--gateway[of another than the default route]:address:' ;;
		doctor)
			_arguments $global {-c,--config}'[configuration to go by]:file:_files' \
				'--no-search[send nothing to LANs]' ;;
		help) _describe 'command' commands ;;
		*) _arguments $global ;;
		esac ;;
	esac
}

_portreeve "$@"
