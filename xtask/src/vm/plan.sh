# The guest's checks, one after the other, and the machine's end. What it says is read by xtask/src/vm/transcript.rs.
export NODEWALL_VM=1 NODEWALL_REQUIRE_ROOT=1 RUST_BACKTRACE=0
say() { echo "NODEWALL-VM $*"; }
while read -r name deadline_s command; do
    say "begin $name"
    timeout -s KILL "$deadline_s" sh -c "exec $command" </dev/null
    say "end $name $?"
done </plan
say "done"
poweroff -f
