#!/bin/sh
# Becomes workerd, after writing down its own pid: so the pid is on record before workerd does anything, whatever happens to
# the process that started it.
printf '%s' "$$" > "$FARSIDE_WORKERD_PID_FILE"
exec "$FARSIDE_WORKERD" "$@"
