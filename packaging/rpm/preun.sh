# $1: how many versions will be left; 0 is removal. A filter without its program could not be managed any more, so the node is opened.
[ "$1" -eq 0 ] || exit 0
if [ -d /run/systemd/system ]; then
    systemctl disable --now nodewall.service nodewall-apply.service || :
fi
if [ -e /sys/fs/bpf/nodewall ] && ! nodewall detach; then
    echo "nodewall could not be taken out of the kernel, so its package stays. Run 'nodewall detach', then remove it again." >&2
    exit 1
fi
