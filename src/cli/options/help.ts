import { type Command, type CommanderError, Option as Flag } from 'commander'
import { didYouMean } from '../../options/did-you-mean.ts'
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
      visibleOptions: ({ options }) => options.filter(({ hidden, long }) => !hidden && (all || !later.has(long))),
    })
    .addHelpText('after', () =>
      all ? '' : `\n\`mongrel2-fetch ${name} --help all\` shows ${later.size / 2} more options.`,
    )
}

/** Flags that another command has under another name. */
const INSTEAD: Readonly<Record<string, string>> = {
  'serve --port': 'for an ordinary HTTP socket use --http HOST:PORT; `mongrel2-fetch dev` has --port',
  'dev --http': 'use --port N; `mongrel2-fetch serve` has --http',
}

/** What is wrong with a command line, and what was meant. */
export function explained(command: Command, { message }: CommanderError): string {
  const text = message.replace(/^error: /, '').replace(/\n\(Did you mean (.*)\?\)$/, '; did you mean $1?')
  const [unknown, flag = ''] = /^unknown option '(--?[\w-]+)/.exec(text) ?? []
  if (unknown === undefined) return text
  // Commander looks only among the options that the help shows.
  const known = command.options.flatMap(({ long }) => long ?? [])
  const has = (name: Subcommand) => flagsOf(name).some((one) => flag === `--${one.flag}` || flag === `--no-${one.flag}`)
  const other = (Object.keys(EXAMPLES) as Subcommand[]).find(has)
  const hint = INSTEAD[`${command.name()} ${flag}`] ?? (other && `\`mongrel2-fetch ${other}\` has it`)
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
