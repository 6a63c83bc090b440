// Writes the tables of options in the README, which stand between markers: they follow from the descriptions and docstrings of the options.

import { readFileSync, writeFileSync } from 'node:fs'
import { type CommandOption, OPTIONS } from '../src/cli/options/command-options.ts'
import { EXIT_CODES, SIGNAL_EXIT_CODES } from '../src/cli/shared/exit-code.ts'
import { CLUSTER_OPTIONS, JOIN_OPTIONS, WORKERS_OPTIONS } from '../src/cluster/options.ts'
import { SERVER_OPTIONS } from '../src/exchange/options.ts'
import { FRONT_OPTIONS } from '../src/gateway/options.ts'
import type { Options } from '../src/options/option.ts'
import { TOPIC_OPTIONS } from '../src/topic/options.ts'
import { UPGRADE_OPTIONS } from '../src/websocket/options.ts'

/** The docstrings of an interface's properties, those of the interfaces that it extends first. */
export function docstrings(file: string, name: string): Map<string, string> {
  const source = readFileSync(file, 'utf8')
  const [, parents = '', body = ''] = new RegExp(`interface ${name}\\b([^{]*)\\{\\n(.*?)\\n\\}`, 's').exec(source) ?? []
  const own = [...body.matchAll(/\/\*\*(.*?)\*\/\n\s*(\w+)\??:/gs)].map(([, text = '', property = '']) => {
    return [property, text.replace(/\s*\n\s*\* ?/g, ' ').trim()] as const
  })
  const [, parent] = /extends (\w+)/.exec(parents) ?? []
  const [, from] = new RegExp(`\\{[^}]*\\b${parent}\\b[^}]*\\} from '../(.*)'`).exec(source) ?? []
  const inherited = parent === undefined ? [] : docstrings(from === undefined ? file : `src/${from}`, parent)
  return new Map([...inherited, ...own])
}

/** The options of each function, where they are typed, and by what. */
export const LIBRARY: Readonly<Record<string, [options: Options, file: string, type: string]>> = {
  serveMongrel2: [SERVER_OPTIONS, 'src/exchange/options.ts', 'Mongrel2Options'],
  upgradeWebSocket: [UPGRADE_OPTIONS, 'src/websocket/options.ts', 'UpgradeWebSocketOptions'],
  Topic: [TOPIC_OPTIONS, 'src/topic/options.ts', 'TopicOptions'],
  serveWithWorkers: [WORKERS_OPTIONS, 'src/cluster/options.ts', 'WorkersOptions'],
  cluster: [CLUSTER_OPTIONS, 'src/cluster/options.ts', 'ClusterOptions'],
  joinCluster: [JOIN_OPTIONS, 'src/cluster/options.ts', 'JoinOptions'],
  createFront: [FRONT_OPTIONS, 'src/gateway/options.ts', 'FrontOptions'],
}

function libraryRows(options: Options, texts: ReadonlyMap<string, string>): string[][] {
  return Object.entries(options).flatMap(([key, { fallback, options: inner }]) => {
    if (inner !== undefined) {
      const innerTexts = docstrings('src/options/endpoint.ts', 'UploadOptions')
      return libraryRows(inner, innerTexts).map(([name, ...cells]) => [`\`${key}.${name?.slice(1)}`, ...cells])
    }
    const [text = '', said = ''] = (texts.get(key) ?? '').split(/ ?Default: (.*)\.$/s)
    return [[`\`${key}\``, said || fallback.replace(/\B(?=(?:\d{3})+$)/g, ','), text]]
  })
}

function commandRow({ key, flag, letter, placeholder, environment, fallback, help }: CommandOption): string[] {
  const short = letter === undefined ? '' : `-${letter}, `
  const name = placeholder === '' ? `--[no-]${flag}` : `${short}--${flag} ${placeholder}`
  const written = key === 'app' ? 'the argument' : `\`${name}\``
  return [written, `\`${environment}\``, key === 'config' ? '' : `\`${key}\``, fallback, help ?? '']
}

function table(...rows: string[][]): string {
  const lines = rows.map((cells) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
  return [lines[0], `| ${rows[0]?.map(() => '---').join(' | ')} |`, ...lines.slice(1)].join('\n')
}

function tableOf(name: string): string {
  if (name === 'command') {
    const rows = OPTIONS.filter(({ help }) => help !== undefined).map(commandRow)
    return table(['flag', 'environment variable', 'key of the file', 'default', ''], ...rows)
  }
  if (name === 'exit codes') {
    return table(['exit code', ''], ...Object.values(EXIT_CODES).map(([code, meaning]) => [String(code), meaning]), [
      Object.values(SIGNAL_EXIT_CODES).join(', '),
      'ended at once by a second SIGINT or SIGTERM',
    ])
  }
  const [options, file, type] = LIBRARY[name] ?? []
  if (options === undefined || file === undefined || type === undefined) throw new Error(`there is no table ${name}`)
  return table(['option', 'default', ''], ...libraryRows(options, docstrings(file, type)))
}

/** A text with its tables made anew. */
export function withTables(text: string): string {
  return text.replace(
    /(<!-- table: (.*?) -->\n).*?(\n<!-- end -->)/gs,
    (_, start, name, end) => `${start}\n${tableOf(name)}\n${end}`,
  )
}

if (import.meta.filename === process.argv[1]) writeFileSync('README.md', withTables(readFileSync('README.md', 'utf8')))
