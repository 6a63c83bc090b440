import type { ConnectionStatus, Mongrel2Control, TaskStatus } from '../../mongrel2/control.ts'
import { CONNECTION_PHASES, type ConnectionState } from '../../operations/server-state.ts'
import { numberIn } from '../../options/option.ts'
import type { OptionKey, OptionSource } from '../options/command-options.ts'
import { type AdminSettings, adminOf } from '../options/settings.ts'
import { askAdmin } from '../shared/ask-admin.ts'
import { CommandError } from '../shared/exit-code.ts'
import { tableText } from '../shared/table.ts'

/** What `mongrel2-fetch mongrel2` can do: the answer for programs, and its text for people. */
interface Action {
  readonly help: string
  /** @param admin The admin address of `serve`, if it is given. */
  run(control: Mongrel2Control, id: number, admin: AdminSettings | undefined): Promise<unknown>
  readonly text: (answer: never, id: number) => string
}

/** The default of `--control`: Mongrel2's own, in the working directory. */
export const DEFAULT_CONTROL = 'ipc://run/control'

const CONNECTION_KEYS: (keyof ConnectionStatus)[] = [
  'id',
  'type',
  'fd',
  'lastPing',
  'lastRead',
  'lastWrite',
  'bytesRead',
  'bytesWritten',
]
const TASK_KEYS: (keyof TaskStatus)[] = ['id', 'name', 'state', 'status', 'system']

export const ACTIONS = {
  info: {
    help: 'how the server is configured',
    run: (control) => control.info(),
    text: (info: object) =>
      Object.entries(info)
        .map(([key, value]) => `${key.padEnd(16)}${value}`)
        .join('\n'),
  },
  status: {
    help: 'the connections of clients; with --admin also what `serve` knows of each',
    run: async (control, _id, admin) => withOurs(await control.connections(), admin),
    text: (connections: KnownConnection[]) =>
      tableText(
        connections,
        connections.some(({ ours }) => ours) ? [...CONNECTION_KEYS, 'ours', 'worker'] : CONNECTION_KEYS,
      ),
  },
  tasks: {
    help: 'the tasks in it',
    run: (control) => control.tasks(),
    text: (tasks: TaskStatus[]) => tableText(tasks, TASK_KEYS),
  },
  kill: {
    help: 'end the connection with an ID of `status`',
    run: (control, id) => control.kill(id),
    text: (_, id) => `killed connection ${id}`,
  },
  time: { help: "the server's clock", run: (control) => control.time(), text: (time: Date) => time.toISOString() },
  uuid: { help: "the server's uuid", run: (control) => control.uuid(), text: (uuid: string) => uuid },
  reload: {
    help: 'open the log files anew',
    run: (control) => control.reload(),
    text: () => 'the logs are opened anew',
  },
  stop: { help: 'end it (SIGINT)', run: (control) => control.stop(), text: () => 'Mongrel2 has ended' },
  terminate: { help: 'kill it (SIGTERM)', run: (control) => control.terminate(), text: () => 'Mongrel2 has ended' },
} satisfies Record<string, Action>

export type ActionName = keyof typeof ACTIONS

/** The options of `mongrel2-fetch mongrel2`. */
export interface ControlOptions {
  readonly control: string
  readonly json: boolean
  readonly admin?: string
  readonly adminTokenFile?: string
}

/** A connection as Mongrel2 knows it, and `serve`. */
interface KnownConnection extends ConnectionStatus {
  /** Its state, as `ConnectionState` has it; with its `recv_spec` where `serve` has several of this number, of several Mongrel2s. */
  readonly ours?: string
  /** Undefined where no process has it, or several have one of this number. */
  readonly worker?: number | undefined
}

/** Adds what `serve` knows of connections, as its admin address tells. */
async function withOurs(
  connections: readonly ConnectionStatus[],
  admin: AdminSettings | undefined,
): Promise<readonly KnownConnection[]> {
  if (admin === undefined) return connections
  const known = new Map<number, ConnectionState[]>()
  for (const state of await askAdmin<ConnectionState[]>(admin, '/connections')) {
    known.set(state.connection, [...(known.get(state.connection) ?? []), state])
  }
  return connections.map((connection) => ({ ...connection, ...oursOf(known.get(connection.id ?? -1) ?? []) }))
}

/** What `serve` knows of the connections of one number. With `--direct` several processes may know one: the one where most is open counts. */
function oursOf(known: readonly ConnectionState[]): Required<Pick<KnownConnection, 'ours' | 'worker'>> {
  const byPhase = CONNECTION_PHASES.flatMap((phase) => known.filter(({ state }) => state === phase))
  const ofHandlers = new Map(byPhase.toReversed().map((state) => [state.recvSpec, state]))
  const [first, ...others] = [...ofHandlers.values()]
  if (others.length === 0) return { ours: first?.state ?? 'unknown', worker: first?.worker }
  const ours = Array.from(ofHandlers.values(), ({ state, recvSpec }) => `${state} at ${recvSpec}`).join(', ')
  return { ours, worker: undefined }
}

/** Runs `mongrel2-fetch mongrel2 ACTION [ID]` and prints the answer; throws Mongrel2Error with what Mongrel2 says. */
export async function mongrel2Command(
  name: ActionName,
  id: string | undefined,
  options: ControlOptions,
): Promise<void> {
  const action: Action = ACTIONS[name]
  const number = numberIn(id ?? '')
  if (name === 'kill' ? typeof number !== 'number' : id !== undefined) {
    const expected = name === 'kill' ? 'kill ID, the number of a connection' : `${name} without an ID`
    throw new CommandError('usage', `expected ${expected}, got ${[name, id].join(' ').trim()}`)
  }
  const { createControl } = await import('../../mongrel2/control.ts')
  using control = createControl(options.control)
  const admin = adminOf(sourcesOf({ admin: options.admin, adminTokenFile: options.adminTokenFile }))
  const answer = await action.run(control, Number(number), admin)
  console.log(options.json ? JSON.stringify(answer ?? { done: name }) : action.text(answer as never, Number(number)))
}

function sourcesOf(flags: Partial<Record<OptionKey, string | undefined>>): Map<OptionKey, OptionSource> {
  const given = Object.entries(flags).filter(([, value]) => value !== undefined)
  return new Map(
    given.map(([key, value]) => [
      key as OptionKey,
      { value, from: key === 'admin' ? '--admin' : '--admin-token-file' },
    ]),
  )
}
