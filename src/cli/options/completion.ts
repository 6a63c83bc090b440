import type { Argument, Command, Option as Flag } from 'commander'

const SCRIPTS: Readonly<Record<string, (program: Command) => string>> = { bash, zsh, fish }
export const COMPLETION_SHELLS: readonly string[] = Object.keys(SCRIPTS)

/** The script for a shell, one of `COMPLETION_SHELLS`. It starts no program to complete. */
export function completionScript(shell: string, program: Command): string {
  return SCRIPTS[shell]?.(program) ?? ''
}

/** bash falls back to file names (`-o default`), also after a flag with a value. */
function bash({ commands }: Command): string {
  const valued = commands.flatMap(({ options }) => options.filter(takesValue))
  const words = new Map(valued.flatMap(({ argChoices, long }) => (argChoices ? [[long, argChoices] as const] : [])))
  const chosen = commands.flatMap((command) => {
    const [choices] = command.registeredArguments.map(({ argChoices }) => argChoices)
    return choices === undefined ? [] : [[command.name(), choices] as const]
  })
  const other = new Set(valued.filter(({ argChoices }) => argChoices === undefined).flatMap(namesOf))
  return `# mongrel2-fetch in bash: eval "$(mongrel2-fetch complete bash)"
_mongrel2_fetch() {
  local words=
  COMPREPLY=()
  case $3 in
${Array.from(words, ([before, choices]) => `    ${before}) words='${choices.join(' ')}' ;;`).join('\n')}
    ${[...other].join('|')}) return ;;
    *)
      if ((COMP_CWORD == 1)); then
        words='${commands.map((command) => command.name()).join(' ')} --help --version'
      elif [[ $2 == -* ]]; then
        case \${COMP_WORDS[1]} in
${commands.map((command) => `          ${command.name()}) words='${[...flagsOf(command).flatMap(namesOf), '--help'].join(' ')}' ;;`).join('\n')}
        esac
      elif ((COMP_CWORD == 2)); then
        case \${COMP_WORDS[1]} in
${chosen.map(([name, choices]) => `          ${name}) words='${choices.join(' ')}' ;;`).join('\n')}
        esac
      fi
      ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$2")
}
complete -o bashdefault -o default -F _mongrel2_fetch mongrel2-fetch
# npx mongrel2-fetch, npm exec mongrel2-fetch; anything else is completed as before.
_mongrel2_fetch_of_npm() {
  local at
  for at in 1 2 3; do
    [[ \${COMP_WORDS[at]} == mongrel2-fetch ]] && ((at < COMP_CWORD)) || continue
    COMP_WORDS=("\${COMP_WORDS[@]:at}")
    ((COMP_CWORD -= at))
    _mongrel2_fetch "$@"
    return
  done
  if [[ $1 == npm ]] && declare -F _npm_completion > /dev/null; then _npm_completion "$@"; fi
}
complete -o bashdefault -o default -F _mongrel2_fetch_of_npm npx npm
`
}

function zsh({ commands }: Command): string {
  const completed = (command: Command) =>
    [...flagsOf(command).flatMap(zshFlag), ...command.registeredArguments.map(zshArgument), quote('(-)--help')].join(
      ' \\\n      ',
    )
  return `#compdef mongrel2-fetch
# mongrel2-fetch in zsh: eval "$(mongrel2-fetch complete zsh)"
_mongrel2_fetch() {
  if ((CURRENT == 2)); then
    local -a commands=(${commands.map((command) => quote(`${command.name()}:${command.description()}`)).join(' ')})
    _describe command commands
    return
  fi
  local name=$words[2]
  shift words
  ((CURRENT--))
  case $name in
${commands.map((command) => `    ${command.name()}) _arguments ${completed(command)} ;;`).join('\n')}
  esac
}
compdef _mongrel2_fetch mongrel2-fetch
# npx mongrel2-fetch, npm exec mongrel2-fetch; anything else is completed as before.
[[ $_comps[npm] == _mongrel2_fetch_of_npm ]] || typeset -g _mongrel2_fetch_npm=\${_comps[npm]:-_default}
_mongrel2_fetch_of_npm() {
  local at=\${words[(i)mongrel2-fetch]}
  if ((at >= CURRENT)); then
    if [[ $service == npm ]]; then $_mongrel2_fetch_npm; else _default; fi
    return
  fi
  words=("\${(@)words[at,-1]}")
  ((CURRENT -= at - 1))
  _mongrel2_fetch
}
compdef _mongrel2_fetch_of_npm npx npm
`
}

function zshFlag(flag: Flag): string[] {
  const text = flag.description.replace(/[[\]:\\]/g, '\\$&')
  // A flag that is appended to a list can be given again.
  const repeated = flag.parseArg !== undefined && flag.argChoices === undefined ? '*' : ''
  const value = flag.argChoices === undefined ? '_files' : `(${flag.argChoices.join(' ')})`
  const argument = takesValue(flag) ? `:${flag.name()}:${value}` : ''
  return namesOf(flag).map((name) => quote(`${repeated}${name}[${text}]${argument}`))
}

function zshArgument(argument: Argument, n: number): string {
  const name = argument.name()
  const files = name === 'directory' ? '_directories' : '_files'
  return quote(`${n + 1}:${name}:${argument.argChoices === undefined ? files : `(${argument.argChoices.join(' ')})`}`)
}

function fish({ commands }: Command): string {
  const line = (...words: string[]) => ['complete', '-c', 'mongrel2-fetch', ...words].join(' ')
  const lines = commands.flatMap((command) => {
    const seen = quote(`__fish_seen_subcommand_from ${command.name()}`)
    const [choices] = command.registeredArguments.flatMap(({ argChoices }) => (argChoices ? [argChoices] : []))
    return [
      ...(choices === undefined ? [] : [line('-n', seen, '-f', '-a', quote(choices.join(' ')))]),
      ...flagsOf(command).flatMap((flag) => fishFlags(flag).map((words) => line('-n', seen, ...words))),
    ]
  })
  return `# mongrel2-fetch in fish: mongrel2-fetch complete fish | source
${commands.map((command) => line('-n', '__fish_use_subcommand', '-f', '-a', command.name(), '-d', quote(command.description()))).join('\n')}
${lines.join('\n')}
# npx mongrel2-fetch, npm exec mongrel2-fetch
function __mongrel2_fetch_of_npm
  string match -rq '^(npx|npm exec) (.* )?mongrel2-fetch ' -- (commandline -cp)
end
for command in npx npm
  complete -c $command -n __mongrel2_fetch_of_npm -f -a "(complete -C (string replace -r '^.*? mongrel2-fetch ' 'mongrel2-fetch ' -- (commandline -cp)))"
end
`
}

function fishFlags(flag: Flag): string[][] {
  const values = flag.argChoices === undefined ? ['-r'] : ['-x', '-a', quote(flag.argChoices.join(' '))]
  return namesOf(flag).map((name) => [
    ...(name.startsWith('--') ? ['-l', name.slice(2)] : ['-s', name.slice(1)]),
    ...(takesValue(flag) ? values : []),
    '-d',
    quote(flag.description),
  ])
}

/** The flags of a command but `--help`, also those that its help does not show. */
function flagsOf({ options }: Command): Flag[] {
  return options.filter(({ long }) => long !== '--help')
}

function namesOf({ long, short }: Flag): string[] {
  return [long, short].flatMap((name) => name ?? [])
}

function takesValue({ required }: Flag): boolean {
  return required
}

/** Quotes a word for all of these shells: a single quote in it ends the quotes, is escaped, and begins them again. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
