import { existsSync } from 'node:fs'
import { Argument, Command, type CommanderError, Option as Flag } from 'commander'
import { createKeyPair, writeKeyPair } from '../cluster/key-pair.ts'
import { ownVersion } from '../runtime/process/versions.ts'
import type { FetchFlags } from './fetch/fetch-command.ts'
import type { ReplayFlags } from './fetch/replay-command.ts'
import { initCommand, TEMPLATES, type Template } from './init/init-command.ts'
import {
  ACTIONS,
  type ActionName,
  type ControlOptions,
  DEFAULT_CONTROL,
  mongrel2Command,
} from './mongrel2/mongrel2-command.ts'
import {
  type CommandOption,
  flagsOf,
  KEY_FILE,
  OPTIONS,
  type OptionKey,
  type OptionSource,
  type OptionSources,
  optionsOf,
  type Subcommand,
} from './options/command-options.ts'
import { COMPLETION_SHELLS, completionScript } from './options/completion.ts'
import { addHelp, EXAMPLES, explainExitCodes, explained, headingOf, limitHelp } from './options/help.ts'
import { sourceOf } from './options/sources.ts'
import { CommandError, ENDINGS, type Ending } from './shared/exit-code.ts'

const SUBCOMMANDS: Record<Subcommand, string> = {
  serve: 'Serve an app behind Mongrel2.',
  dev: 'Serve an app with a Mongrel2 of its own, again after each change of a file.',
  fetch: 'Send an app one request without a server, and print the response.',
  replay: 'Send an app the requests that `serve --record` wrote, and print or check the responses.',
  status: 'Show the state of a running serve, by its admin address.',
  doctor: 'Look for mistakes in how Mongrel2 and an app are set up. Takes the options of `serve`.',
}

/** @param own Flags that are no options. */
type Run = (flags: OptionSources, argument: string, own: ReplayFlags & FetchFlags) => Promise<Ending>

const RUN: Record<Subcommand, () => Promise<Run>> = {
  serve: async () => (await import('./serve/serve-command.ts')).serveCommand,
  dev: async () => (await import('./dev/dev-command.ts')).devCommand,
  fetch: async () => (await import('./fetch/fetch-command.ts')).fetchCommand,
  replay: async () => (await import('./fetch/replay-command.ts')).replayCommand,
  status: async () => (await import('./status/status-command.ts')).statusCommand,
  doctor: async () => (await import('./doctor/doctor-command.ts')).doctorCommand,
}

/** The command line. It imports a subcommand when that runs, and calls `ended` when the command has ended. */
export function commandLine(ended: (ending: Ending) => void): Command {
  const program = ours(new Command('mongrel2-fetch'), 'serve --help')
    .description('Fetch handlers (Hono, itty-router, plain functions) behind the Mongrel2 web server.')
    .version(ownVersion(), '-V, --version', 'Print the version.')
    .helpCommand('help [command]', 'Show the help of a command.')
  explainExitCodes(program)
  for (const name of Object.keys(SUBCOMMANDS) as Subcommand[]) {
    program.addCommand(
      subcommand(name, async (...given) => {
        ended(await (await RUN[name]())(...given))
      }),
    )
  }
  ours(program.command('init'), 'init my-app --template hono')
    .description('Write a project that runs: an app, its test, and the configuration of Mongrel2.')
    .argument('[directory]', 'where it goes; files that exist stay as they are', '.')
    .addOption(
      new Flag('--template <NAME>', 'The kind of app.')
        .choices(Object.keys(TEMPLATES))
        .default('hono' satisfies Template),
    )
    .action(async (directory: string, { template }: { template: Template }) => {
      ended(await initCommand(directory, template))
    })
  ours(program.command('keygen'), `keygen ${KEY_FILE}`)
    .description('Make the keys by which this machine takes part in a cluster, and print the public one.')
    .argument('[file]', 'a new file, which only you can read', KEY_FILE)
    .action((file: string) => {
      const key = keygen(file)
      console.error(`mongrel2-fetch wrote new keys to ${file}, which only you can read; the public one is:`)
      process.stdout.write(`${key}\n`)
      ended('ok')
    })
  const mongrel2 = ours(program.command('mongrel2'), 'mongrel2 status --control ipc://run/control')
  addHelp(mongrel2, (help) => {
    const items = Object.entries(ACTIONS).map(([name, { help: text }]) => help.formatItem(name, 9, text, help))
    return help.formatItemList('Actions:', items, help).slice(0, -1)
  })
  mongrel2
    .description('Ask or steer a running Mongrel2 through its control port.')
    .addArgument(new Argument('<action>', 'what to do').choices(Object.keys(ACTIONS)))
    .argument('[id]', 'the connection for `kill`')
    .option('--control <SPEC>', "Mongrel2's control_port: ipc://PATH or tcp://HOST:PORT", DEFAULT_CONTROL)
    .option('--json', 'Print JSON instead of tables.', false)
    .option('--admin <ADDRESS>', 'For `status`: the admin address of `serve`, which tells its side of each connection.')
    .option('--admin-token-file <FILE>', 'The file with its token.')
    .action(async (action: ActionName, id: string | undefined, options: ControlOptions) => {
      await mongrel2Command(action, id, options)
      ended('ok')
    })
  ours(program.command('complete'), 'complete bash >> ~/.bashrc')
    .description('Print a script that completes this command in a shell.')
    .addArgument(new Argument('<shell>', 'the shell').choices(COMPLETION_SHELLS))
    .action((shell: string) => {
      process.stdout.write(completionScript(shell, program))
      ended('ok')
    })
  return program
}

/** Makes a subcommand that takes options, and an app if it runs one. */
function subcommand(name: Subcommand, run: (...given: Parameters<Run>) => Promise<void>): Command {
  const command = ours(new Command(name), EXAMPLES[name]).description(SUBCOMMANDS[name])
  if (name === 'replay') command.argument('<file>', 'the file of `serve --record`')
  const takesApp = optionsOf(name).some(({ key }) => key === 'app')
  if (takesApp) command.argument('[app]', 'the module with the handler, such as app.ts')
  if (name === 'fetch') command.argument('[path]', "the request's path and query, or its URL", '/')
  for (const flag of OWN_FLAGS[name] ?? []) command.addOption(flag)
  for (const option of flagsOf(name)) for (const flag of flagsFor(option)) command.addOption(flag)
  limitHelp(command, name)
  return command.action(() => {
    const [app, other] = operandsOf(name, command)
    return run(sourcesInFlags(app, command.opts()), other, command.opts())
  })
}

/** The app, if it is given, and the other argument of the command. */
function operandsOf(name: Subcommand, { args, processedArgs }: Command): [app: string | undefined, other: string] {
  const [first, second] = processedArgs
  if (name === 'replay') return [second, first]
  // A single argument may be the request of `fetch`, for the app of the configuration file.
  const isRequest = /^https?:/.test(first) || (first?.startsWith('/') && !existsSync(first))
  return name === 'fetch' && args.length === 1 && isRequest ? [undefined, first] : [first, second]
}

/** A command whose errors are thrown, and whose help has an example. */
function ours(command: Command, example: string): Command {
  const fail = (error: CommanderError) => {
    throw error.exitCode === 0 ? error : new CommandError('usage', explained(command, error))
  }
  command
    .exitOverride(fail)
    .configureOutput({ outputError: () => {} })
    .helpOption('-h, --help', 'Show this help.')
    .addHelpText('after', `\nExample:\n  mongrel2-fetch ${example}`)
  if (command.name() in ENDINGS) explainExitCodes(command, command.name())
  return command
}

const append = (text: string, before: readonly string[] = []) => [...before, text]
const HEADER = new Flag('-H, --header <FIELD>', "A header, such as 'Accept: text/html'; can be given again.").argParser(
  append,
)

/** Flags that are no options of the configuration file. */
const OWN_FLAGS: Partial<Record<Subcommand, readonly Flag[]>> = {
  fetch: [
    new Flag('-X, --method <METHOD>', 'The method (default: GET, or POST with --data).'),
    HEADER,
    new Flag('-d, --data <TEXT|@FILE>', 'The body, of a form unless --header says otherwise; @- is stdin.').argParser(
      append,
    ),
    new Flag('-i, --include', 'Print status and headers before the body.'),
  ],
  replay: [
    new Flag('--check', 'Compare the responses with the recorded ones, and print only what differs.'),
    HEADER,
    new Flag('--ignore <NAME>', 'A header that --check does not compare; can be given again.').argParser(append),
    new Flag('--timeout <MS>', 'Time for a response.').default('10000', '10000'),
  ],
}

function flagsFor(option: CommandOption): Flag[] {
  const flags = flagsOfKind(option)
  for (const flag of flags) flag.helpGroup(headingOf(option))
  return flags
}

function flagsOfKind({ flag, letter, placeholder, fallback, help = '', repeated, choices }: CommandOption): Flag[] {
  const summary = fallback === '' ? help : `${help} (default: ${fallback})`
  if (placeholder === '') {
    // Both values have a flag, which overrides a variable or the file; the help shows the one that changes the default.
    const off = fallback === 'true'
    const opposite = `Do not ${help.charAt(0).toLowerCase()}${help.slice(1)}`
    return [new Flag(`--${flag}`, summary).hideHelp(off), new Flag(`--no-${flag}`, opposite).hideHelp(!off)]
  }
  const short = letter === undefined ? '' : `-${letter}, `
  const valued = new Flag(`${short}--${flag} <${placeholder}>`, summary)
  if (choices !== undefined) valued.argChoices = [...choices]
  return [repeated ? valued.argParser(append) : valued]
}

function sourcesInFlags(app: string | undefined, values: Readonly<Record<string, unknown>>): OptionSources {
  const sources = new Map<OptionKey, OptionSource>()
  if (app !== undefined) sources.set('app', { value: app, from: 'the argument' })
  for (const option of OPTIONS) {
    const attribute = option.flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
    const value = values[attribute]
    if (value === undefined) continue
    // The texts of a flag that was given again may have spaces in them.
    sources.set(option.key, sourceOf(option, Array.isArray(value) ? value : String(value), `--${option.flag}`))
  }
  return sources
}

/** Writes new keys into a file and returns the public one. */
function keygen(file: string): string {
  const pair = createKeyPair()
  try {
    writeKeyPair(file, pair)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw new CommandError('usage', String(error))
    throw new CommandError(
      'usage',
      `${file} already exists and was not changed: machines that know its public key would refuse this one with new keys; name another file`,
    )
  }
  return pair.publicKey
}
