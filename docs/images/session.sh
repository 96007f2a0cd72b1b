#!/bin/bash
# Records session.cast: the tutorial's commands, typed into a terminal of tmux and run there, with the times that they really took. Draws session.svg, what is
# in that terminal after the red run. As root, in an environment that has `koalesce`:
#
#     pip install 'asciinema<3'        # or apt-get install asciinema tmux
#     docs/images/session.sh
set -eu
images=$(cd "$(dirname "$0")" && pwd)
project=$(mktemp -d)
tmux=(tmux -L "koalesce-$$" -f /dev/null)
trap '"${tmux[@]}" kill-server 2>/dev/null || true; rm -rf "$project"' EXIT

(cd "$images/../.." && python - "$project") <<'EOF'
import sys
from pathlib import Path
from tests.doc_blocks import blocks
for block in reversed(blocks(Path("docs/tutorial/first-spec.md").resolve())):  # the first of each file, which is wrong, is written last
    if block.file:
        path = Path(sys.argv[1], block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text)
EOF
touch "$project/koalesce.toml" "$project/prompts"
cat >"$project/rc" <<EOF
PS1='$ ' PROMPT_COMMAND='echo >>$project/prompts'
EOF

prompts() { wc -l <"$project/prompts"; }
wait_for_prompt() { until [ "$(prompts)" -gt "$1" ]; do sleep 0.1; done; sleep 1; }
enter() {
  local typed=$1 before letter
  before=$(prompts)
  while [ -n "$typed" ]; do
    letter=${typed:0:1} typed=${typed:1}
    "${tmux[@]}" send-keys -l -- "$letter"
    sleep 0.04
  done
  "${tmux[@]}" send-keys Enter
  wait_for_prompt "$before"
}

"${tmux[@]}" new-session -d -x 112 -y 30 -c "$project" \
  asciinema rec --quiet --overwrite --idle-time-limit 2 --title 'koalesce run: red, then green' -c "bash --rcfile $project/rc" "$images/session.cast"
wait_for_prompt 0
enter 'koalesce validate specs/web.yaml'
enter 'koalesce run specs/web.yaml'
"${tmux[@]}" capture-pane -e -p | python -c '
import io, sys
from rich.console import Console
from rich.text import Text
lines = [line for line in sys.stdin.read().rstrip().splitlines()][:-1]  # without the prompt for what comes next
console = Console(record=True, width=112, file=io.StringIO(), force_terminal=True)
console.print(Text.from_ansi("\n".join(lines)))
console.save_svg(sys.argv[1], title="koalesce run specs/web.yaml")
' "$images/session.svg"
enter "sed -i 's/targetPort: 8081/targetPort: 8080/' specs/web/web.yaml"
enter 'koalesce run specs/web.yaml'
"${tmux[@]}" send-keys C-d
while "${tmux[@]}" has-session 2>/dev/null; do sleep 0.1; done
