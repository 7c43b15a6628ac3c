/**
 * Each script asks `imago __complete WORD...`, which prints a candidate a line (a tab before its description), or
 * the single line `:files`.
 */
export const COMPLETION_SCRIPTS: Record<'bash' | 'zsh' | 'fish', string> = {
  // Readline breaks words at ":" and "=", which image names and flags hold: words are put together again first, and
  // what stands before the break is cut from the answers.
  bash: `# bash completion for imago: source <(imago completion bash)
_imago() {
  local words=() word i glue= cut line
  for ((i = 1; i <= COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    if [[ $word == [:=] && \${#words[@]} -gt 0 ]]; then
      words[\${#words[@]}-1]+=$word
      glue=1
    elif [[ -n $glue ]]; then
      words[\${#words[@]}-1]+=$word
      glue=
    else
      words+=("$word")
    fi
  done
  word=\${words[\${#words[@]}-1]}
  cut=
  [[ $COMP_WORDBREAKS == *:* && $word == *:* ]] && cut=\${word%"\${word##*:}"}
  [[ -z $cut && $COMP_WORDBREAKS == *=* && $word == *=* ]] && cut=\${word%%=*}=
  COMPREPLY=()
  while IFS= read -r line; do
    if [[ $line == :files ]]; then
      compopt -o filenames 2>/dev/null
      while IFS= read -r line; do COMPREPLY+=("$line"); done < <(compgen -f -- "\${word#"$cut"}")
      return
    fi
    line=\${line%%$'\\t'*}
    COMPREPLY+=("\${line#"$cut"}")
  done < <("\${COMP_WORDS[0]}" __complete -- "\${words[@]}" 2>/dev/null)
}
complete -F _imago imago
`,
  zsh: `#compdef imago
# zsh completion for imago: source <(imago completion zsh), or a file _imago in a directory of $fpath
_imago() {
  local -a lines words_shown
  local line
  lines=("\${(@f)$(imago __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if [[ "\${lines[1]}" == ':files' ]]; then
    _files
    return
  fi
  for line in "\${lines[@]}"; do
    [[ -z $line ]] && continue
    words_shown+=("\${\${line%%$'\\t'*}//:/\\\\:}\${\${(M)line:#*$'\\t'*}:+:\${line#*$'\\t'}}")
  done
  _describe 'imago' words_shown
}
if [[ $funcstack[1] == _imago ]]; then _imago "$@"; else compdef _imago imago; fi
`,
  fish: `# fish completion for imago: imago completion fish | source
function __imago_complete
    set -l words (commandline -opc)[2..-1] (commandline -ct)
    set -l lines (imago __complete -- $words 2>/dev/null)
    if test "$lines[1]" = ':files'
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $lines
    end
end
complete -c imago -f -a '(__imago_complete)'
`,
};
