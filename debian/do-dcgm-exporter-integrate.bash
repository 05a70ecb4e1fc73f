# bash completion of do-dcgm-exporter-integrate(8)
_do_dcgm_exporter_integrate() {
    local words
    case ${COMP_WORDS[1]} in
        check) words='--json --bundle --wait --help' ;;
        apply) words='--choice --retry --no-restart --help' ;;
        restore) words='--help' ;;
    esac
    if [ "${COMP_WORDS[COMP_CWORD - 1]}" = --bundle ]; then
        COMPREPLY=($(compgen -f -- "${COMP_WORDS[COMP_CWORD]}"))
        return
    elif [ "${COMP_WORDS[COMP_CWORD - 1]}" = --choice ]; then
        words='rewrite stop leave'
    elif [ "$COMP_CWORD" -eq 1 ]; then
        words='check apply restore --help'
    fi
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -F _do_dcgm_exporter_integrate do-dcgm-exporter-integrate
