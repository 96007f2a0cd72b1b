"""`koalesce completion`: completion for shells."""

from __future__ import annotations

import argparse

NAME = "completion"
HELP = "print what makes a shell complete commands, flags, specs, tests and clusters"
_EXAMPLES = """\
examples:
  source <(koalesce completion bash)                                   in this shell; in ~/.bashrc for all
  source <(koalesce completion zsh)                                    the same for zsh, after compinit
  koalesce completion fish > ~/.config/fish/completions/koalesce.fish
"""
# `filenames` has readline quote what needs it (names of tests have spaces), all but the dollar sign.
_BASH = r"""_koalesce() {
  local word found=()
  while IFS= read -r word; do found+=("$word"); done \
    < <(koalesce complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
  if ((!${#found[@]})); then
    compopt -o default
  elif [[ "${found[*]}" == *'$'* && ${COMP_WORDS[COMP_CWORD]} != [\'\"]* ]]; then
    compopt -o noquote
    for word in "${!found[@]}"; do printf -v "found[$word]" %q "${found[word]}"; done
  else
    compopt -o filenames
  fi
  COMPREPLY=("${found[@]}")
}
complete -F _koalesce koalesce
"""
_ZSH = r"""_koalesce() {
  local -a found
  found=("${(@f)$(koalesce complete -- "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ -n "${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _koalesce koalesce
"""
_FISH = r"""function __koalesce_words
  set -l words (commandline -opc) (commandline -ct)
  set -l found (koalesce complete -- $words[2..-1] 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\n' $found
  else
    __fish_complete_path (commandline -ct)
  end
end
complete -c koalesce -f -a '(__koalesce_words)'
"""
_SCRIPTS = {"bash": _BASH, "fish": _FISH, "zsh": _ZSH}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """For which shell."""
    parser.epilog = _EXAMPLES
    parser.add_argument("shell", choices=sorted(_SCRIPTS), help="the shell")


def run(args: argparse.Namespace) -> int:
    """Print the script."""
    from koalesce.cli import exit_codes

    print(_SCRIPTS[args.shell], end="")
    return exit_codes.PASSED
