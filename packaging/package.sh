# What the scripts of both packages share; they read it before they do anything. For sh, without a tool that a minimal system lacks.

PINS=/sys/fs/bpf/nodewall

# What is mounted as the root of a process, by its mountinfo (proc(5)): device, and the folder of it. A chroot has another, or none.
root_of() {
    while read -r _ _ device folder place _; do
        [ "$place" != / ] || echo "$device $folder"
    done <"$1"
}

# Whether this is the system that runs. A chroot sees the host's file systems, an image that is built and a container without an init the
# host's network: what is filtered there is another's.
runs_here() {
    [ -z "${DPKG_ROOT:-}" ] && [ -r /proc/self/mountinfo ] && [ -r /proc/1/mountinfo ] || return 1
    [ -n "$(root_of /proc/self/mountinfo)" ] && [ "$(root_of /proc/self/mountinfo)" = "$(root_of /proc/1/mountinfo)" ] || return 1
    # A process namespace of its own, by the number of the first one (include/linux/proc_ns.h), and no systemd in it.
    [ -d /run/systemd/system ] || [ "$(readlink /proc/self/ns/pid)" = "pid:[4026531836]" ]
}

has_systemd() {
    runs_here && [ -d /run/systemd/system ]
}

# Before removal. A filter without its program could not be managed any more, so the node is opened, or the package stays.
open_node() {
    [ -e "$PINS" ] || return 0
    if ! runs_here; then
        echo "nodewall: this is a chroot or a container; what is filtered by $PINS is the host's, and stays."
    elif ! nodewall detach; then
        echo "nodewall could not be taken out of the kernel, so its package stays. Run 'nodewall detach', then remove it again." >&2
        return 1
    fi
}

# How it stands after the units were to be started. $1: the version before, if any.
tell_standing() {
    if ! has_systemd; then
        echo "nodewall is installed; nothing was started, for no systemd runs here. The units are enabled for the next boot."
    elif systemctl is-active --quiet nodewall.service; then
        [ -z "${1:-}" ] || return 0
        case "$(nodewall status 2>/dev/null | sed -n 's/^mode  *//p')" in
        audit) echo "nodewall audits now and drops nothing. Next: nodewall init, then nodewall plan --mode enforce." ;;
        *) echo "nodewall runs with the configuration that was there: nodewall status." ;;
        esac
    else
        echo "nodewall is installed, and its agent does not run: nothing is counted or recorded." >&2
        # What forbade the start (policy-rc.d, a mask) has said so; what was refused is noted.
        nodewall status 2>/dev/null | sed -n 's/^problem: /  /p' >&2
        echo "Then: systemctl restart nodewall.service; how it fares: systemctl status nodewall.service" >&2
    fi
}
