import { closeOnce } from '../options/close.ts'
import { Mongrel2Error } from '../runtime/errors.ts'
import { libzmq } from '../runtime/process/libzmq.ts'
import { Backoff, deferred, Pause } from '../runtime/promises.ts'
import { curveKey } from './key-pair.ts'
import { NodeAgent } from './node-agent.ts'
import { checkJoinOptions, type JoinOptions, type JoinSettings } from './options.ts'
import { STREAM_OPTIONS } from './secure-stream.ts'

/** Waits between attempts to join, in milliseconds. */
const RETRY = [100, 3000] as const

/** A node of a cluster: this machine. */
export interface ClusterNode extends AsyncDisposable {
  /** Resolves when the node has joined for the first time; rejects with a `Mongrel2Error` `closed` if it is closed first. */
  readonly ready: Promise<void>
  /**
   * Leaves the cluster: lets its workers answer open requests and end, then disconnects. A second call returns the first one's promise.
   *
   * @param options.timeout Milliseconds after which open connections are closed. Default: 10,000.
   */
  close(options?: { timeout?: number }): Promise<void>
}

/**
 * Joins the dispatcher of a main node, which decides how many workers to run, with which app and options. Joins again after losing the
 * connection, until it is closed.
 *
 * @throws Mongrel2Error `invalid_option` if an option is wrong.
 */
export function joinCluster(options: JoinOptions): ClusterNode {
  const settings = checkJoinOptions(options)
  const { logger, address } = settings
  const ready = deferred()
  const pause = new Pause()
  let agent: NodeAgent | undefined
  let closing = false
  const running = run()
  const close = closeOnce(settings, async (timeout) => {
    closing = true
    ready.reject(new Mongrel2Error('closed', 'the node was closed before it had joined'))
    pause.end()
    await agent?.leave(timeout)
    await running
  })
  return { ready: ready.promise, close, [Symbol.asyncDispose]: () => close() }

  async function run(): Promise<void> {
    const backoff = new Backoff(...RETRY)
    let logged = ''
    while (!closing) {
      agent = connect(settings)
      const joined = await agent.joined.then(
        () => true,
        () => false, // `ended` gives the reason
      )
      if (joined) {
        backoff.reset()
        logged = ''
        logger.info?.(`mongrel2-fetch joined the main node at ${address.spec}`)
        ready.resolve()
      }
      const reason = await agent.ended
      agent = undefined
      if (closing) return
      const line = `${joined ? 'lost' : 'cannot join'} the main node at ${address.spec}: ${reason}`
      if (line !== logged) logger.warn?.(`mongrel2-fetch ${line}; it tries again`)
      logged = line
      await pause.wait(backoff.next())
    }
  }
}

function connect(settings: JoinSettings): NodeAgent {
  const { address, security } = settings
  const curve = security && {
    curveServerKey: curveKey(security.main),
    curvePublicKey: curveKey(security.keys.publicKey),
    curveSecretKey: curveKey(security.keys.secretKey),
  }
  const socket = new (libzmq().Dealer)({ ...STREAM_OPTIONS, ...curve, ipv6: address.spec.startsWith('tcp://[') })
  const agent = new NodeAgent(socket, settings)
  try {
    socket.connect(address.spec)
  } catch (error) {
    agent.abandon(String(error))
  }
  return agent
}
