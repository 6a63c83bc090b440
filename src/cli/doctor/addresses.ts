import type { Check } from './check.ts'

/** Mistakes with the addresses of a Handler. */
export const ADDRESS_CHECKS: readonly Check[] = [
  {
    title: 'Mongrel2 is running',
    find({ endpoint: { sendSpec, recvSpec }, send, recv }) {
      const silent = [
        [sendSpec, send.problem],
        [recvSpec, recv.problem],
      ].filter(([, problem]) => problem !== undefined)
      if (silent.length === 0) return undefined
      const denied = silent.some(([, problem]) => problem?.includes('EACCES'))
      return {
        found: silent.map(([spec, problem]) => `nothing answers at ${spec}: ${problem}`).join('; '),
        advice: denied
          ? 'Give this user the right to write to the sockets, and to enter their directory.'
          : 'Start Mongrel2. If it runs, give the send_spec and recv_spec of its Handler, with relative ipc paths as seen from here.',
      }
    },
  },
  {
    title: 'The addresses are send_spec and recv_spec, in this order',
    find({ send, recv }) {
      const [sendType = 'PUSH', recvType = 'SUB'] = [send.type, recv.type]
      if (sendType === 'PUSH' && recvType === 'SUB') return undefined
      const swapped = sendType === 'SUB' || recvType === 'PUSH'
      return {
        found: `a ${sendType} socket at the first address, where a PUSH is expected, and a ${recvType} socket at the second, where a SUB is`,
        advice: swapped ? 'Swap the two addresses.' : 'Give the send_spec and the recv_spec of a Handler.',
      }
    },
  },
  {
    title: 'Both addresses are of one Handler',
    find({ endpoint: { sendSpec, recvSpec }, servers, send, recv }) {
      const ofOther = `${sendSpec} and ${recvSpec} are`
      const advice =
        'Give the send_spec and the recv_spec of the same Handler. Requests would come from one, and answers go to the other.'
      const pids = [send.listener?.pid, recv.listener?.pid]
      if (pids.every((pid) => pid !== undefined) && pids[0] !== pids[1])
        return { found: `${ofOther} of two processes, ${pids.join(' and ')}`, advice }
      if (servers.length === 0) return { unknown: 'the Handlers are in the database, which --mongrel2 names' }
      const handlers = servers.flatMap((server) => server.handlers)
      const has = [sendSpec, recvSpec].sort().join()
      if (handlers.some((handler) => [handler.sendSpec, handler.recvSpec].sort().join() === has)) return undefined
      const there = handlers.map((handler) => `${handler.sendSpec},${handler.recvSpec}`).join(' and ')
      return { found: `${ofOther} not those of one Handler of the database, which has ${there}`, advice }
    },
  },
  {
    title: 'Nobody else pulls from the Handler',
    find({ endpoint: { sendSpec }, send: { listener }, pullers }) {
      if (listener === undefined) return { unknown: 'the process of Mongrel2 cannot be seen from here' }
      if (listener.connections <= pullers) return undefined
      return {
        found: `${listener.connections} connections pull from ${sendSpec}, and ${pullers} would be right`,
        advice:
          'End the other programs, such as an older process of yours: each gets its share of the requests. Where it is meant, use --direct -p N.',
      }
    },
  },
]
