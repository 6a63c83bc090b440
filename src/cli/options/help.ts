import { type Command, type CommanderError, Option as Flag, type Help } from 'commander'
import { didYouMean } from '../../options/did-you-mean.ts'
import { ENDINGS, type Ending, EXIT_CODES, SIGNAL_EXIT_CODES } from '../shared/exit-code.ts'
import { type CommandOption, flagsOf, type OptionKey, type Subcommand } from './command-options.ts'

/** The headings of the groups, and the keys of those that are not in the group's own. */
const HEADINGS: Record<CommandOption['group'], string> = {
  command: 'App, configuration and log:',
  file: 'App, configuration and log:',
  admin: 'Operations:',
  status: 'Output:',
  output: 'Output:',
  serve: 'Where to serve:',
  dev: 'Where to serve:',
  workers: 'Workers:',
  server: 'Requests and responses:',
}
const OTHER_HEADINGS: readonly (readonly [keys: RegExp, heading: string])[] = [
  [/^(?:zeromq|port|tls|tlsCert|tlsKey)$/, 'Where to serve:'],
  [/^(?:direct|touchReload)$/, 'Workers:'],
  [/^(?:cluster|insecure)/, 'Cluster:'],
  [/^(?:metrics|accessLog|record|closeTimeout)/, 'Operations:'],
  [/^(?:chroot|uploads\.|uploadWindow|maxBodySize|bodyTimeout)/, 'Uploads:'],
  [/^(?:link|identity|shared|flowControl|controlPort|handlerTargets|keepAliveInterval|min|maxWaiting)/, 'Mongrel2:'],
]

export function headingOf({ key, group }: CommandOption): string {
  return OTHER_HEADINGS.find(([keys]) => keys.test(key))?.[1] ?? HEADINGS[group]
}

/** The options that `--help` shows of a subcommand; those of the groups `dev` and `output` are always shown. */
const FIRST: Partial<Record<Subcommand, readonly OptionKey[]>> = {
  serve: [
    'zeromq',
    'mongrel2',
    'http',
    'workers',
    'threads',
    'config',
    'export',
    'logLevel',
    'accessLog',
    'admin',
    'trustProxy',
    'chroot',
  ],
  dev: ['config', 'export', 'logLevel', 'zeromq'],
  fetch: ['config', 'export', 'logLevel'],
  replay: ['config', 'export', 'logLevel'],
  doctor: ['zeromq', 'mongrel2', 'handler', 'config'],
}

function isFirst(command: Subcommand, { key, group }: CommandOption): boolean {
  const first = FIRST[command]
  return first === undefined || first.includes(key) || group === 'dev' || group === 'output'
}

/** Lets `--help` show the first options of a subcommand, and `--help all` all of them. */
export function limitHelp(command: Command, name: Subcommand): void {
  const later = new Set<string | undefined>(
    flagsOf(name)
      .filter((option) => !isFirst(name, option))
      .flatMap(({ flag }) => [`--${flag}`, `--no-${flag}`]),
  )
  let all = later.size === 0
  const what = all ? 'Show this help.' : 'Show this help, or with `all` every option.'
  command
    .helpOption(false)
    .addOption(new Flag(all ? '-h, --help' : '-h, --help [all]', what))
    .on('option:help', (value: unknown) => {
      all ||= value === 'all'
      command.help()
    })
    .configureHelp({
      // The texts name the values that can be chosen.
      optionDescription: ({ description }) => description,
      visibleOptions: ({ options }) => options.filter(({ hidden, long }) => !hidden && (all || !later.has(long))),
    })
  addHelp(command, (help) => [help.boxWrap(ENVIRONMENT_TEXT, help.helpWidth ?? 80)])
  addHelp(command, () => (all ? [] : [`\`mongrel2-fetch ${name} --help all\` shows ${later.size / 2} more options.`]))
}

const ENVIRONMENT_TEXT = `Each option has an environment variable, --max-in-flight for example MONGREL2_FETCH_MAX_IN_FLIGHT, and a key in the configuration file. A flag comes before its variable, and that before the file.`

/** Adds the exit codes of a command to its help; without a name, those of all commands. */
export function explainExitCodes(command: Command, name?: string): void {
  const endings = name === undefined ? undefined : (ENDINGS[name] ?? {})
  const lines: [codes: string, meaning: string][] = []
  for (const [ending, [code, meaning]] of Object.entries(EXIT_CODES)) {
    const own = endings === undefined ? meaning : endings[ending as Ending]
    if (own !== undefined) lines.push([String(code), own])
  }
  if (endings === undefined || 'front' in endings)
    lines.push([Object.values(SIGNAL_EXIT_CODES).join(', '), 'ended at once by a second SIGINT or SIGTERM'])
  const width = Math.max(...lines.map(([codes]) => codes.length))
  addHelp(command, (help) => {
    const items = lines.map(([codes, meaning]) => help.formatItem(codes, width, meaning, help))
    return help.formatItemList('Exit codes:', items, help).slice(0, -1)
  })
}

/** Adds lines to the end of a command's help. */
export function addHelp(command: Command, lines: (help: Help) => string[]): void {
  command.addHelpText('after', () => {
    const help = command.createHelp()
    help.helpWidth = command.configureOutput().getOutHelpWidth?.() ?? 80
    const added = lines(help)
    return added.length === 0 ? '' : `\n${added.join('\n')}`
  })
}

/** Flags that another command has under another name. */
const INSTEAD: Readonly<Record<string, string>> = {
  'serve --port': 'for an ordinary HTTP socket use --http HOST:PORT; `mongrel2-fetch dev` has --port',
  'dev --http': 'use --port N; `mongrel2-fetch serve` has --http',
}

/** What is wrong with a command line, and what was meant, in the words of our own errors. */
export function explained(command: Command, { code, message }: CommanderError): string {
  const given = command.args
  switch (code) {
    // Without a subcommand, commander shows the help.
    case 'commander.help':
      return 'expected a command, such as `mongrel2-fetch dev app.ts`, got none'
    case 'commander.unknownCommand': {
      const names = command.commands.map((each) => each.name())
      return `expected one of ${names.join(', ')}, got ${JSON.stringify(given[0])}${didYouMean(given[0] ?? '', names)}`
    }
    case 'commander.excessArguments': {
      const most = command.registeredArguments.length
      const expected = most === 0 ? 'no argument' : most === 1 ? 'one argument at most' : `${most} arguments at most`
      return `expected ${expected}, got ${given.length}: ${given.join(' ')}`
    }
    case 'commander.missingArgument': {
      const missing = command.registeredArguments[given.length]
      const what = missing?.argChoices ? `one of ${missing.argChoices.join(', ')}` : missing?.description
      return `expected ${what} as the argument, got none`
    }
    case 'commander.optionMissingArgument': {
      const [, flag, value] = /(--[\w-]+) <(.+)>' argument missing$/.exec(message) ?? []
      return `${flag}: expected ${value}, got nothing`
    }
    case 'commander.invalidArgument': {
      const [, flag, value = '', choices = ''] =
        /^error: (?:option '.*?(--[\w-]+) <.+>'|command)[ -]argument (?:value )?'(.*)' is invalid.*Allowed choices are (.*)\.$/.exec(
          message,
        ) ?? []
      const meant = didYouMean(value, choices.split(', '))
      return `${flag === undefined ? '' : `${flag}: `}expected one of ${choices}, got ${JSON.stringify(value)}${meant}`
    }
    case 'commander.unknownOption':
      return unknownOption(command, /'(--?[\w-]+)/.exec(message)?.[1] ?? '')
    default:
      return message.replace(/^error: /, '')
  }
}

function unknownOption(command: Command, flag: string): string {
  // Commander looks only among the options that the help shows.
  const known = command.options.flatMap(({ long }) => long ?? [])
  const other = command.parent?.commands.find((each) =>
    each.options.some((one) => flag === one.long || flag === one.short),
  )
  const hint = INSTEAD[`${command.name()} ${flag}`] ?? (other && `\`mongrel2-fetch ${other.name()}\` has it`)
  return `unknown option ${flag}${hint ? `: ${hint}` : didYouMean(flag, known)}`
}

/** An example for each subcommand. */
export const EXAMPLES: Record<Subcommand, string> = {
  serve: 'serve app.ts --zeromq tcp://127.0.0.1:9999,tcp://127.0.0.1:9998',
  dev: 'dev app.ts --port 8080',
  fetch: 'fetch app.ts /items -d \'{"name":"a"}\' -H \'Content-Type: application/json\' -i',
  replay: 'replay requests.jsonl app.ts --check',
  status: 'status --admin 127.0.0.1:9090 --watch',
  doctor: 'doctor app.ts --mongrel2 config.sqlite',
}
