import { didYouMean } from '../../options/did-you-mean.ts'
import { TEMPLATES } from '../init/init-command.ts'
import { ACTIONS } from '../mongrel2/mongrel2-command.ts'
import { CommandError } from '../shared/exit-code.ts'
import { type CommandOption, flagsOf, OPTIONS, type Subcommand } from './command-options.ts'

const SCRIPTS: Readonly<Record<string, (subcommands: Subcommands) => string>> = { bash, zsh, fish }
export const COMPLETION_SHELLS: readonly string[] = Object.keys(SCRIPTS)

/** Subcommands that take options, with their descriptions. */
type Subcommands = Readonly<Record<Subcommand, string>>

/** The script for a shell, which starts no program to complete; throws CommandError `usage` for another shell. */
export function completionScript(shell: string, subcommands: Subcommands): string {
  const script = SCRIPTS[shell]
  if (script !== undefined) return script(subcommands)
  const meant = didYouMean(shell, COMPLETION_SHELLS)
  throw new CommandError('usage', `expected one of ${COMPLETION_SHELLS.join(', ')}, got ${shell}${meant}`)
}

const OTHERS = {
  init: 'Write a project that runs.',
  mongrel2: 'Ask or steer a running Mongrel2.',
  keygen: 'Make keys for a cluster.',
  complete: 'Print a completion script.',
}

const NAMES: readonly Subcommand[] = ['serve', 'dev', 'fetch', 'replay', 'status', 'doctor']

/** bash falls back to file names (`-o default`), also after a flag with a value. */
function bash(subcommands: Subcommands): string {
  const flags = OPTIONS.filter(({ key, placeholder }) => key !== 'app' && placeholder)
  const choices = flags.filter(({ choices }) => choices !== undefined)
  const valued = flags.filter(({ choices }) => choices === undefined)
  return `# mongrel2-fetch in bash: eval "$(mongrel2-fetch complete bash)"
_mongrel2_fetch() {
  local words=
  COMPREPLY=()
  case $3 in
${choices.map((option) => `    --${option.flag}) words='${option.choices?.join(' ')}' ;;`).join('\n')}
    ${valued.flatMap(spellings).join('|')}) return ;;
    --template) words='${Object.keys(TEMPLATES).join(' ')}' ;;
    complete) words='${COMPLETION_SHELLS.join(' ')}' ;;
    mongrel2) words='${Object.keys(ACTIONS).join(' ')}' ;;
    *)
      if ((COMP_CWORD == 1)); then
        words='${[...Object.keys(subcommands), ...Object.keys(OTHERS)].join(' ')} --help --version'
      elif [[ $2 == -* ]]; then
        case \${COMP_WORDS[1]} in
${NAMES.map((name) => `          ${name}) words='${[...flagsOf(name).flatMap(spellings), '--help'].join(' ')}' ;;`).join('\n')}
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

function zsh(subcommands: Subcommands): string {
  const described = Object.entries({ ...subcommands, ...OTHERS })
  return `#compdef mongrel2-fetch
# mongrel2-fetch in zsh: eval "$(mongrel2-fetch complete zsh)"
_mongrel2_fetch() {
  if ((CURRENT == 2)); then
    local -a commands=(${described.map(([name, text]) => quote(`${name}:${text}`)).join(' ')})
    _describe command commands
    return
  fi
  local name=$words[2]
  shift words
  ((CURRENT--))
  case $name in
${NAMES.map((name) => `    ${name}) _arguments ${[...flagsOf(name).flatMap(zshFlag), ...(name === 'status' ? [] : [quote('1:app:_files')])].join(' \\\n      ')} ;;`).join('\n')}
    init) _arguments ${quote(`--template[The kind of app]:template:(${Object.keys(TEMPLATES).join(' ')})`)} '1:directory:_directories' ;;
    complete) _arguments ${quote(`1:shell:(${COMPLETION_SHELLS.join(' ')})`)} ;;
    mongrel2) _arguments '--control[The address of the control port]:spec:' '--json' ${quote(`1:action:(${Object.keys(ACTIONS).join(' ')})`)} ;;
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

function zshFlag(option: CommandOption): string[] {
  const text = (option.help ?? '').replace(/[[\]:\\]/g, '\\$&')
  const repeated = option.repeated ? '*' : ''
  const value = option.choices === undefined ? '_files' : `(${option.choices.join(' ')})`
  const argument = option.placeholder === '' ? '' : `:${option.flag}:${value}`
  return spellings(option).map((flag) => quote(`${repeated}${flag}[${text}]${argument}`))
}

function fish(subcommands: Subcommands): string {
  const described = Object.entries({ ...subcommands, ...OTHERS })
  const line = (...words: string[]) => ['complete', '-c', 'mongrel2-fetch', ...words].join(' ')
  return `# mongrel2-fetch in fish: mongrel2-fetch complete fish | source
${described.map(([name, text]) => line('-n', '__fish_use_subcommand', '-f', '-a', name, '-d', quote(text))).join('\n')}
${line('-n', quote('__fish_seen_subcommand_from init'), '-l', 'template', '-x', '-a', quote(Object.keys(TEMPLATES).join(' ')))}
${line('-n', quote('__fish_seen_subcommand_from complete'), '-f', '-a', quote(COMPLETION_SHELLS.join(' ')))}
${line('-n', quote('__fish_seen_subcommand_from mongrel2'), '-f', '-a', quote(Object.keys(ACTIONS).join(' ')))}
${NAMES.flatMap((name) => flagsOf(name).flatMap((option) => fishFlags(name, option).map((words) => line(...words)))).join('\n')}
# npx mongrel2-fetch, npm exec mongrel2-fetch
function __mongrel2_fetch_of_npm
  string match -rq '^(npx|npm exec) (.* )?mongrel2-fetch ' -- (commandline -cp)
end
for command in npx npm
  complete -c $command -n __mongrel2_fetch_of_npm -f -a "(complete -C (string replace -r '^.*? mongrel2-fetch ' 'mongrel2-fetch ' -- (commandline -cp)))"
end
`
}

function fishFlags(command: string, option: CommandOption): string[][] {
  const values = option.choices === undefined ? ['-r'] : ['-x', '-a', quote(option.choices.join(' '))]
  return spellings(option).map((flag) => [
    '-n',
    quote(`__fish_seen_subcommand_from ${command}`),
    ...(flag.startsWith('--') ? ['-l', flag.slice(2)] : ['-s', flag.slice(1)]),
    ...(option.placeholder === '' ? [] : values),
    '-d',
    quote(option.help ?? ''),
  ])
}

/** The flags of an option; a boolean has one for each value. */
function spellings({ flag, letter, placeholder }: CommandOption): string[] {
  if (placeholder === '') return [`--${flag}`, `--no-${flag}`]
  return letter === undefined ? [`--${flag}`] : [`--${flag}`, `-${letter}`]
}

/** Quotes a word for all of these shells: a single quote in it ends the quotes, is escaped, and begins them again. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
