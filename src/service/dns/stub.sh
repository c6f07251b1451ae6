#!/bin/sh
# Stands for a resolver's program in tests: writes down how it was called, beside the link that it
# was called by.
dir=${0%/*}
[ -e "$dir/hangs" ] && exec sleep 1000
cat - > "$dir/input"
echo "${0##*/}" "$@" >> "$dir/calls"
[ ! -e "$dir/fails" ]
