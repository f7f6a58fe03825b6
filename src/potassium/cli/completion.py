"""Completion in bash: of words with the characters at which bash splits, such as ``:8000``."""

import os

from click.shell_completion import BashComplete as Base
from click.shell_completion import CompletionItem, add_completion_class, split_arg_string

__all__ = ["BashComplete"]

SOURCE = r"""
%(complete_func)s() {
    local IFS=$'\n' response type value
    response=$(env COMP_LINE="$COMP_LINE" COMP_POINT="$COMP_POINT" \
        COMP_WORDBREAKS="$COMP_WORDBREAKS" %(complete_var)s=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<< "$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file)
                if [[ $2 == @* ]]; then
                    compopt -o nospace
                    COMPREPLY+=($(compgen -P @ -f -- "${2#@}"))
                else
                    compopt -o default
                fi ;;
            plain)
                COMPREPLY+=("$value")
                [[ $value != *= ]] || compopt -o nospace ;;
        esac
    done
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""


@add_completion_class
class BashComplete(Base):
    """Takes words apart as the shell's own parser does, not at ``COMP_WORDBREAKS``.

    Readline splits ``:8000`` and ``text=@a`` into several words, and replaces only the last of
    them (https://www.gnu.org/software/bash/manual/html_node/Bash-Variables.html). An ``@`` is part
    of the last one: readline completes names of hosts after it.
    """

    source_template = SOURCE

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the arguments before the cursor, and what is typed of the next one."""
        line = os.fsencode(os.environ["COMP_LINE"])[: int(os.environ["COMP_POINT"])]
        typed = os.fsdecode(line)
        words = split_arg_string(typed)
        incomplete = "" if typed[-1:].isspace() else words.pop()
        self._kept = _kept(incomplete)
        return words[1:], incomplete

    def format_completion(self, item: CompletionItem) -> str:
        """Return what bash puts in place of the last part of the word."""
        return f"{item.type},{item.value.removeprefix(self._kept)}"


def _kept(word: str) -> str:
    """Return the part of ``word`` that bash leaves as it is."""
    breaks = os.environ.get("COMP_WORDBREAKS", "")
    return word[: max((at + 1 for at, one in enumerate(word) if one in breaks), default=0)]
