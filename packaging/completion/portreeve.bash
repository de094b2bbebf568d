# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion of portreeve(1)

_portreeve_ids()
{
	portreeve --timeout 1 --color=never list 2>/dev/null |
		awk '$1 ~ /^[0-9]+$/ { print $1 }'
}

_portreeve()
{
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local commands='status list show watch add delete reload probe doctor help'
	local options='--socket --json --color --timeout --help --version'
	local command='' words i

	COMPREPLY=()
	case $previous in
	--socket | -c | --config)
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		return ;;
	--proto)
		mapfile -t COMPREPLY < <(compgen -W 'tcp udp' -- "$current")
		return ;;
	--color)
		mapfile -t COMPREPLY < <(compgen -W 'auto always never' -- "$current")
		return ;;
	--timeout | --host | --client | --gateway | --lifetime | --remote | --description)
		return ;;
	esac
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		status | list | show | watch | add | delete | reload | probe | doctor | help)
			command=${COMP_WORDS[i]}
			break ;;
		esac
	done
	case $command in
	'') words="$commands $options" ;;
	list) words="--host --proto $options" ;;
	add) words="tcp udp --lifetime --remote --description $options" ;;
	probe) words="--gateway $options" ;;
	doctor) words="-c --config --no-search $options" ;;
	help) words=$commands ;;
	show | delete)
		words=$options
		[[ $command == show ]] || words+=' --client'
		[[ $current == -* ]] || words=$(_portreeve_ids) ;;
	*) words=$options ;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

complete -F _portreeve portreeve
