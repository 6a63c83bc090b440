// Makes docs/reference/options.md from the descriptions and docstrings of the options.

import type { Project } from 'ts-morph'
import { ADMIN_OPTIONS } from '../src/admin/admin.ts'
import { type CommandOption, OPTIONS } from '../src/cli/options/command-options.ts'
import { ENDINGS, type Ending, EXIT_CODES, SIGNAL_EXIT_CODES } from '../src/cli/shared/exit-code.ts'
import { CLUSTER_OPTIONS, JOIN_OPTIONS, WORKERS_OPTIONS } from '../src/cluster/options.ts'
import { SERVER_OPTIONS } from '../src/exchange/options.ts'
import { FRONT_OPTIONS, FRONT_SETTINGS, GATEWAY_OPTIONS, ROUTE } from '../src/gateway/options.ts'
import * as is from '../src/options/option.ts'
import { REPLIER_OPTIONS } from '../src/replier.ts'
import { TOPIC_OPTIONS } from '../src/topic/options.ts'
import { DEFLATE, UPGRADE_OPTIONS } from '../src/websocket/options.ts'
import { docOf, propertiesOf, textOf } from './sources.ts'

/** Options with the type that has their docstrings. */
interface Described {
  readonly options: is.Options
  readonly file: string
  readonly type: string
  /** What it says above the table. */
  readonly about: string
  /** Types of objects in it, by their options, and what describes them. */
  readonly inner?: Readonly<Record<string, [file: string, type: string, options?: is.Options]>>
}

const { flowControl, bufferSize, contentLength, logger } = FRONT_SETTINGS
const DISPATCHER_OPTIONS: is.Options = {
  zeromq: is.unchecked(),
  protocol: ROUTE.protocol,
  flowControl,
  bufferSize,
  contentLength,
  logger,
}

/** The functions that take options, in the order of the page. */
export const LIBRARY: Readonly<Record<string, Described>> = {
  serveMongrel2: {
    options: SERVER_OPTIONS,
    file: 'src/exchange/options.ts',
    type: 'Mongrel2Options',
    about: 'Serves a handler behind Mongrel2. See [requests and responses](../requests-and-responses.md).',
    inner: { uploads: ['src/options/endpoint.ts', 'UploadOptions'] },
  },
  serveWithWorkers: {
    options: WORKERS_OPTIONS,
    file: 'src/cluster/options.ts',
    type: 'WorkersOptions',
    about: 'Serves an app in worker processes. See [workers](../workers.md).',
  },
  cluster: {
    options: CLUSTER_OPTIONS,
    file: 'src/cluster/options.ts',
    type: 'ClusterOptions',
    about: 'The option `cluster` of [serveWithWorkers](#servewithworkers). See [cluster](../cluster.md).',
  },
  joinCluster: {
    options: JOIN_OPTIONS,
    file: 'src/cluster/options.ts',
    type: 'JoinOptions',
    about: 'Lends the processors of this machine to a main node. See [cluster](../cluster.md).',
  },
  upgradeWebSocket: {
    options: {
      ...UPGRADE_OPTIONS,
      perMessageDeflate: is.option('true, false or an object', () => false),
    },
    file: 'src/websocket/options.ts',
    type: 'UpgradeWebSocketOptions',
    about: 'Accepts a WebSocket. See [WebSockets](../websockets.md).',
    inner: { perMessageDeflate: ['src/websocket/options.ts', 'PerMessageDeflateOptions', DEFLATE] },
  },
  Topic: {
    options: TOPIC_OPTIONS,
    file: 'src/topic/options.ts',
    type: 'TopicOptions',
    about: 'Sends one message to many clients. See [topics](../topics.md).',
  },
  createAdmin: {
    options: ADMIN_OPTIONS,
    file: 'src/admin/admin.ts',
    type: 'AdminOptions',
    about: 'Shows a server to people and programs. See [operations](../operations.md).',
  },
  createReplier: {
    options: REPLIER_OPTIONS,
    file: 'src/replier.ts',
    type: 'ReplierOptions',
    about: 'Answers from another process. See [deferred answers](../deferred-answers.md).',
  },
  createGateway: {
    options: GATEWAY_OPTIONS,
    file: 'src/gateway/options.ts',
    type: 'GatewayOptions',
    about: 'Takes requests by several protocols. See [the gateway](../gateway.md).',
    inner: { routes: ['src/gateway/options.ts', 'FrontRoute', ROUTE] },
  },
  createFront: {
    options: FRONT_OPTIONS,
    file: 'src/gateway/options.ts',
    type: 'FrontOptions',
    about: 'Starts the embedded front. See [the gateway](../gateway.md).',
    inner: { routes: ['src/gateway/options.ts', 'FrontRoute', ROUTE] },
  },
  Mongrel2Dispatcher: {
    options: DISPATCHER_OPTIONS,
    file: 'adapters/undici/index.ts',
    type: 'Mongrel2DispatcherOptions',
    about: "undici's dispatcher that sends requests to a handler without Mongrel2. See [testing](../testing.md).",
  },
  serveNode: {
    options: { port: is.PORT, host: is.text('a host name or an address'), logger: is.LOGGER },
    file: 'adapters/node/index.ts',
    type: 'NodeServeOptions',
    about: "Serves a handler on Node's HTTP server. See [the gateway](../gateway.md).",
  },
}

/** Groups of the command's own options, and which subcommand takes them. */
const OWN_GROUPS: Readonly<Record<string, string>> = {
  command: '`serve`, `dev`',
  file: 'all',
  admin: '`serve`, `status`',
  status: '`status`',
  serve: '`serve`',
  dev: '`dev`',
}

/** The docstrings of a type's properties. */
export function docstrings(project: Project, file: string, type: string): Map<string, string> {
  const declared = project.getSourceFileOrThrow(file).getInterfaceOrThrow(type).getType()
  return new Map(propertiesOf(declared).map((one) => [one.getName(), textOf(docOf(one.getDeclarations()))]))
}

/** Makes the page. */
export function optionsPage(project: Project): string {
  const functions = Object.entries(LIBRARY).map(([name, described]) => {
    return `## ${name}\n\n${described.about}\n\n${libraryTable(project, name, described)}`
  })
  const own = OPTIONS.filter(({ key, group, help }) => group in OWN_GROUPS && help !== undefined && !isShared(key))
  return `# Options

Every option of the library and of the command, once. This page is generated: \`npm run docs\`.

- **Library**: the options are properties of the object that a function takes. A wrong one is a \`Mongrel2Error\` with the code \`invalid_option\`, whose message has the option's name, what was expected and what came.
- **Command**: an option has a flag and an environment variable, as the tables show. A switch has two flags, such as \`--shared\` and \`--no-shared\`.
- **File**: in the command's configuration file the key is the name in the first column.
- A flag overrides the variable, which overrides the file. See [the command](../command.md).

${[...Object.keys(LIBRARY), 'command', 'exit codes'].map((name) => `- [${name}](#${name.toLowerCase().replace(' ', '-')})`).join('\n')}

${functions.join('\n\n')}

## command

Options of \`mongrel2-fetch serve\`, \`dev\` and \`status\` beside those of [serveMongrel2](#servemongrel2), which \`serve\` and \`dev\` take, and of [serveWithWorkers](#servewithworkers), which \`serve\` takes.

${table(
  ['key of the file', 'values', 'default', 'flag and variable', 'taken by', 'what it does'],
  ...own.map((option) => [
    option.key === 'config' ? '' : `\`${option.key}\``,
    valuesOf(option),
    numbered(option.fallback),
    namesOf(option),
    OWN_GROUPS[option.group] ?? '',
    option.help ?? '',
  ]),
)}

## exit codes

${table(['exit code', 'of', 'when'], ...(Object.keys(EXIT_CODES) as Ending[]).flatMap(endingRows), [
  Object.values(SIGNAL_EXIT_CODES).join(', '),
  '`serve`, `dev`',
  'ended at once by a second SIGINT or SIGTERM',
])}
`
}

/** A row for each meaning of an exit code. */
function endingRows(ending: Ending): string[][] {
  const commands = new Map<string, string[]>()
  for (const [name, { [ending]: meaning }] of Object.entries(ENDINGS))
    if (meaning !== undefined) commands.set(meaning, [...(commands.get(meaning) ?? []), `\`${name}\``])
  return Array.from(commands, ([meaning, names]) => [String(EXIT_CODES[ending][0]), names.join(', '), meaning])
}

function libraryTable(project: Project, name: string, { options, file, type, inner = {} }: Described): string {
  const texts = docstrings(project, file, type)
  const rows = Object.entries(options).flatMap(([key, option]) => {
    const [innerFile, innerType, described] = inner[key] ?? []
    const innerOptions = option.options ?? described
    const innerRows =
      innerFile === undefined || innerType === undefined || innerOptions === undefined
        ? []
        : Object.entries(innerOptions).map(([innerKey, innerOption]) => {
            const text = docstrings(project, innerFile, innerType).get(innerKey) ?? ''
            return libraryRow(name, `${key}.${innerKey}`, innerOption, text)
          })
    // An object that has a default for each key needs no row of its own.
    return option.options === undefined
      ? [libraryRow(name, key, option, texts.get(key) ?? ''), ...innerRows]
      : innerRows
  })
  const withCommand = rows.some(([, , , names]) => names !== '')
  const heads = ['option', 'values', 'default', ...(withCommand ? ['flag and variable'] : []), 'what it does']
  return table(heads, ...rows.map((cells) => (withCommand ? cells : cells.toSpliced(3, 1))))
}

function libraryRow(name: string, key: string, option: is.Option, docstring: string): string[] {
  const [text = '', said] = docstring.split(/ ?Default: (.*?)\.$/s)
  const command = HAS_FLAGS.includes(name) && isShared(key) ? OPTIONS.find((one) => one.key === key) : undefined
  const fallback = said ?? numbered(option.fallback)
  const differs = command !== undefined && command.fallback !== option.fallback
  return [
    `\`${key}\``,
    valuesOf(option),
    differs ? `${fallback}; of the command: ${numbered(command.fallback)}` : fallback,
    command?.help === undefined ? '' : namesOf(command),
    text,
  ]
}

/** The functions whose options the command has, too. */
const HAS_FLAGS = ['serveMongrel2', 'serveWithWorkers']

/** Whether an option of the command is one of the library. `logger` and `cluster` are others by the same names. */
function isShared(key: string): boolean {
  const [outer = key] = key.split('.')
  return !['logger', 'cluster'].includes(key) && HAS_FLAGS.some((name) => outer in (LIBRARY[name]?.options ?? {}))
}

function namesOf({ key, flag, letter, placeholder, environment }: CommandOption): string {
  const short = letter === undefined ? '' : `\`-${letter}\`, `
  const name = placeholder === '' ? `\`--${flag}\`` : `${short}\`--${flag} ${placeholder}\``
  return `${key === 'app' ? 'the argument' : name}<br>\`${environment}\``
}

/** As far as users need to know: a timer of Node's has no longer delay. */
const UNBOUNDED = new RegExp(`^an integer from (\\d+)(?: to ${is.MAX_DELAY})?$`)

/** What an option expects, as its error says. */
function valuesOf(option: is.Option): string {
  if (option.options !== undefined) return 'an object'
  try {
    option.check('it', Symbol('none'))
  } catch (error) {
    const [, expected = ''] = /^it: expected (.*), got /s.exec((error as Error).message) ?? []
    return numbered(expected.replace(UNBOUNDED, 'an integer, at least $1'))
  }
  return ''
}

function numbered(text: string): string {
  return text.replace(/\d{5,}/g, (digits) => digits.replace(/\B(?=(?:\d{3})+$)/g, ','))
}

function table(...rows: string[][]): string {
  const lines = rows.map(
    (cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|').replaceAll('\n', ' ')).join(' | ')} |`,
  )
  return [lines[0], `| ${rows[0]?.map(() => '---').join(' | ')} |`, ...lines.slice(1)].join('\n')
}
