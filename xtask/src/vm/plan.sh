# The guest's checks, one after the other, and the machine's end. What it says is read by xtask/src/vm/transcript.rs.
export NODEWALL_VM=1 NODEWALL_REQUIRE_ROOT=1 RUST_BACKTRACE=0
say() { echo "NODEWALL-VM $*"; }
# Where the plan has a boot in it, it goes on after it.
came_to=$(cat /plan.done 2>/dev/null || echo 0)
line=0
while read -r name deadline_s command; do
    line=$((line + 1))
    [ $line -gt "$came_to" ] || continue
    if [ "$name" = boot ]; then
        sh -c "exec $command" </dev/null
        echo $line >/plan.done
        say "reboot"
        reboot -f
    fi
    say "begin $name"
    timeout -s KILL "$deadline_s" sh -c "exec $command" </dev/null
    say "end $name $?"
done </plan
say "done"
poweroff -f
