import { beforeEach, describe, expect, it } from 'vitest'
import { parseMessage } from '../../../src/wire/message.ts'
import { type BalancerOutlet, ConnectionBalancer } from '../../../src/workers/dispatcher/connection-balancer.ts'
import { DealtEpoch, ThreadState } from '../../../src/workers/dispatcher/state.ts'
import { renderCredits, renderDisconnect, renderPart, renderRequest } from '../support/message.ts'

const STORED = {
  'content-length': '30000',
  'x-mongrel2-upload-start': 'tmp/mongrel2.upload.aB3xYz',
}
const STORED_DONE = { ...STORED, 'x-mongrel2-upload-done': 'tmp/mongrel2.upload.aB3xYz' }

let events: string[]
let balancer: ConnectionBalancer
let epoch: DealtEpoch
let a: ThreadState
let b: ThreadState

beforeEach(() => {
  events = []
  setUp(2, 4)
})

function setUp(maxInFlight: number, maxQueued: number): void {
  a = new ThreadState(0)
  b = new ThreadState(1)
  const nameOf = (thread: ThreadState) => (thread === a ? 'a' : thread === b ? 'b' : 'c')
  const outlet: BalancerOutlet = {
    deal(thread, _epoch, bytes, unwrittenBytes) {
      const { path, connectionId } = parseMessage(bytes)
      events.push(
        `${nameOf(thread)} gets ${connectionId} ${path}${unwrittenBytes > 0 ? ` with ${unwrittenBytes}` : ''}`,
      )
    },
    askHandOver: (thread, { id }) => events.push(`${nameOf(thread)} is asked for ${id}`),
    end: ({ id, streaming }, status) =>
      events.push(`${id} ends${status === undefined ? '' : ` with ${status}`}${streaming ? ' amid its body' : ''}`),
    partOfEnded: (_epoch, { connectionId }) => events.push(`part of ${connectionId}, which was ended`),
    leftEnded: (_epoch, id) => events.push(`${id} has left`),
    deleteUpload: (_epoch, path) => events.push(`${path} is deleted`),
    ended: ({ bytes }) => events.push(`${parseMessage(bytes).path} is over`),
    emptied: (thread) => events.push(`${nameOf(thread)} is empty`),
  }
  balancer = new ConnectionBalancer(maxInFlight, maxQueued, outlet)
  epoch = new DealtEpoch(0, 1)
  balancer.begin(epoch)
  for (const thread of [a, b]) {
    balancer.add(thread)
    balancer.attach(thread, epoch)
  }
}

function request(connectionId: number, path = '/'): void {
  balancer.receive(epoch, renderRequest({ connectionId, target: path }))
}

/** A thread has answered all it has seen of a connection. */
function answer(thread: ThreadState, id: number, seen = thread.dealt): void {
  balancer.reportConnection(thread, epoch, id, 'answering', seen)
  balancer.reportConnection(thread, epoch, id, 'idle', seen)
  balancer.report(thread, seen, 0)
}

/** What has happened since the last call. */
function happened(): string[] {
  return events.splice(0)
}

describe('a message', () => {
  it('of a connection goes to the thread that has it, in order', () => {
    request(1, '/first')
    request(1, '/second')
    balancer.receive(epoch, renderCredits(1, 100))
    expect(happened()).toEqual(['a gets 1 /first', 'a gets 1 /second', 'a gets 1 @*'])
  })

  it('of a new connection goes to the thread with the least in flight', () => {
    for (const id of [1, 2]) request(id)
    answer(b, 2)
    request(3)
    expect(happened().at(-1)).toBe('b gets 3 /')
  })

  it('of a new connection goes to the thread with the fewest connections when as much is in flight', () => {
    request(1)
    answer(a, 1)
    request(2)
    expect(happened()).toEqual(['a gets 1 /', 'b gets 2 /'])
  })

  it('of a new connection goes to one thread after another when they have as little to do', () => {
    const c = new ThreadState(2)
    balancer.add(c)
    balancer.attach(c, epoch)
    for (let id = 1; id <= 6; id++) {
      request(id)
      for (const thread of [a, b, c]) answer(thread, id)
      balancer.receive(epoch, renderDisconnect(id))
    }
    expect(happened().filter((event) => !event.endsWith('@*'))).toEqual(
      ['a', 'b', 'c', 'a', 'b', 'c'].map((name, at) => `${name} gets ${at + 1} /`),
    )
  })

  it('of a new connection goes to the thread with the least in flight, whoever is next in turn', () => {
    request(1)
    request(2)
    answer(b, 2)
    request(3)
    answer(b, 3)
    request(4)
    expect(happened().at(-1)).toBe('b gets 4 /')
  })

  it('goes to threads that are attached to its epoch only', () => {
    const other = new DealtEpoch(1, 2)
    balancer.begin(other)
    balancer.attach(b, other)
    for (const connectionId of [1, 2]) balancer.receive(other, renderRequest({ connectionId }))
    expect(happened()).toEqual(['b gets 1 /', 'b gets 2 /'])
  })

  it('of the same number in another epoch is of another connection', () => {
    const other = new DealtEpoch(1, 2)
    balancer.begin(other)
    balancer.attach(a, other)
    balancer.attach(b, other)
    request(1)
    balancer.receive(other, renderRequest({ connectionId: 1 }))
    expect(happened()).toEqual(['a gets 1 /', 'b gets 1 /'])
  })

  it('that is none is thrown out', () => {
    expect(() => balancer.receive(epoch, Buffer.from('junk'))).toThrow('SENDER')
    expect(balancer.connections).toBe(0)
  })
})

describe('a connection', () => {
  it('is forgotten when its thread forgets it, unless something was dealt meanwhile', () => {
    request(1)
    const seen = a.dealt
    answer(a, 1)
    request(1, '/meanwhile')
    balancer.reportConnection(a, epoch, 1, 'forgotten', seen)
    expect(balancer.connections).toBe(1)
    answer(a, 1)
    balancer.reportConnection(a, epoch, 1, 'forgotten', a.dealt)
    expect([balancer.connections, a.connections]).toEqual([0, 0])
  })

  it('is forgotten when its client leaves, and its thread told', () => {
    request(1)
    balancer.receive(epoch, renderDisconnect(1))
    expect(happened()).toEqual(['a gets 1 /', 'a gets 1 @*'])
    expect(balancer.connections).toBe(0)
  })

  it('that its thread has closed is not heard any more, but the file that it leaves is deleted', () => {
    request(1)
    balancer.reportConnection(a, epoch, 1, 'closed', a.dealt)
    happened()
    request(1, '/smuggled')
    balancer.receive(epoch, renderRequest({ connectionId: 1, method: 'POST', headers: STORED_DONE }))
    expect(happened()).toEqual(['tmp/mongrel2.upload.aB3xYz is deleted'])
    expect([balancer.connections, balancer.counters.rejected]).toEqual([0, 2])
  })

  it('without a thread makes a notice mean nothing', () => {
    balancer.receive(epoch, renderDisconnect(7))
    expect([happened(), balancer.counters.ignored]).toEqual([['7 has left'], 1])
  })
})

describe('places', () => {
  it('are given in the order in which requests came when one becomes free', () => {
    for (const id of [1, 2, 3, 4, 5, 6]) request(id)
    expect(balancer.queued).toBe(2)
    happened()
    answer(a, 1)
    expect(happened()).toEqual(['a gets 5 /', 'a gets 6 /'])
    expect(balancer.queued).toBe(0)
  })

  it('are waited for by so many at most, the others get a 503', () => {
    for (let id = 1; id <= 8; id++) request(id)
    happened()
    request(9)
    expect(happened()).toEqual(['9 ends with 503'])
    expect([balancer.queued, balancer.counters.rejected]).toEqual([4, 1])
  })

  it('are waited for by a whole connection: what comes behind comes behind', () => {
    for (const id of [1, 2, 3, 4]) request(id)
    request(5, '/first')
    request(5, '/second')
    happened()
    answer(a, 1)
    expect(happened()).toEqual(['a gets 5 /first', 'a gets 5 /second'])
  })

  it('are not waited for by a client that has left', () => {
    for (const id of [1, 2, 3, 4, 5]) request(id)
    balancer.receive(epoch, renderDisconnect(5))
    expect([balancer.queued, balancer.connections]).toEqual([0, 4])
  })

  it('are needed by what begins something, not by what belongs to it', () => {
    for (const id of [1, 2, 3, 4]) request(id)
    happened()
    balancer.receive(epoch, renderPart(1, 100, 'part'))
    expect(happened()).toEqual(['a gets 1 /'])
  })

  it('are waited for while no thread has reached that Mongrel2, but refused when there is no thread', () => {
    balancer.detach(a, epoch)
    balancer.detach(b, epoch)
    request(1)
    expect([happened(), balancer.queued]).toEqual([[], 1])
    balancer.attach(b, epoch)
    expect(happened()).toEqual(['b gets 1 /'])
    balancer.remove(a)
    balancer.remove(b)
    request(2)
    expect(happened()).toEqual(['1 ends with 502', '2 ends with 503'])
  })

  it('at another thread are taken by a connection whose own is full', () => {
    request(1)
    answer(a, 1)
    for (const id of [2, 3, 4, 5]) request(id)
    answer(b, 2)
    happened()
    for (const id of [6, 7]) request(id)
    happened()
    answer(b, 6)
    balancer.report(b, b.dealt, 0)
    balancer.report(a, a.dealt, 2)
    request(1, '/again')
    expect(happened()).toEqual(['a is asked for 1'])
    balancer.handedOver(a, epoch, 1, 0)
    expect(happened()).toEqual(['b gets 1 /again'])
  })
})

describe('a thread that is gone', () => {
  it('leaves a 502 to who has no byte of an answer, and an end to who has', () => {
    for (const id of [1, 3]) request(id)
    request(2)
    balancer.reportConnection(a, epoch, 1, 'answering', a.dealt)
    happened()
    balancer.remove(a)
    expect(happened().sort()).toEqual(['1 ends', '2 ends with 502'])
    expect([balancer.connections, a.connections]).toEqual([1, 0])
  })

  it('leaves an end to who was answered and is still remembered: the answer may be lost with it', () => {
    request(1)
    answer(a, 1)
    happened()
    balancer.remove(a)
    expect(happened()).toEqual(['1 ends'])
  })

  it('leaves a 502 to a request that came behind an answer', () => {
    request(1)
    const seen = a.dealt
    request(1, '/behind')
    answer(a, 1, seen)
    happened()
    balancer.remove(a)
    expect(happened()).toEqual(['1 ends with 502'])
  })

  it('leaves an end to who pipelined behind an answer that had begun: a 502 would stand amid its body', () => {
    request(1)
    balancer.reportConnection(a, epoch, 1, 'answering', a.dealt)
    request(1, '/pipelined')
    happened()
    balancer.remove(a)
    expect(happened()).toEqual(['1 ends'])
  })

  it('ends uploads in the way that they need, and their files go', () => {
    balancer.receive(epoch, renderRequest({ connectionId: 1, method: 'POST', headers: STORED }))
    balancer.receive(epoch, renderRequest({ connectionId: 1, method: 'POST', headers: STORED_DONE }))
    balancer.receive(epoch, renderRequest({ connectionId: 2, method: 'POST', headers: { UPLOAD_STREAM: '0' } }))
    happened()
    balancer.remove(a)
    balancer.remove(b)
    expect(happened()).toEqual([
      'tmp/mongrel2.upload.aB3xYz is deleted',
      '1 ends with 502',
      '2 ends with 502 amid its body',
    ])
  })

  it('leaves an end to whom it had just closed: that may be lost with it', () => {
    request(1)
    balancer.reportConnection(a, epoch, 1, 'closed', a.dealt)
    happened()
    balancer.remove(a)
    expect(happened()).toEqual(['1 ends'])
  })

  it('and had delivered everything leaves connections on which nothing is open, to go on elsewhere', () => {
    for (const id of [1, 2, 3]) request(id)
    answer(a, 1)
    balancer.reportConnection(a, epoch, 1, 'idle', a.dealt)
    happened()
    balancer.remove(a, true)
    expect(happened()).toEqual(['3 ends with 502'])
    answer(b, 2)
    request(1, '/again')
    expect(happened()).toEqual(['b gets 1 /again'])
  })

  it('says nothing any more', () => {
    request(1)
    balancer.remove(a)
    request(2)
    happened()
    balancer.reportConnection(a, epoch, 2, 'closed', 9)
    balancer.handedOver(a, epoch, 2, 0)
    expect([happened(), balancer.connections]).toEqual([[], 1])
  })

  it('leaves those who wait for a place to the others', () => {
    for (const id of [1, 2, 3, 4, 5]) request(id)
    balancer.remove(a)
    answer(b, 2)
    expect(happened().at(-1)).toBe('b gets 5 /')
  })
})

describe('a thread that is to be left', () => {
  beforeEach(() => {
    request(1)
    answer(a, 1)
    happened()
    balancer.retire(a)
  })

  it('is asked for a connection that sends another request, which the other gets with its unwritten bytes', () => {
    request(1, '/again')
    balancer.receive(epoch, renderCredits(1, 100))
    expect(happened()).toEqual(['a is asked for 1'])
    balancer.handedOver(a, epoch, 1, 500)
    expect(happened()).toEqual(['a is empty', 'b gets 1 /again with 500', 'b gets 1 @*'])
  })

  it('keeps a connection on which something is open', () => {
    request(1, '/again')
    balancer.handedOver(a, epoch, 1, undefined)
    expect(happened()).toEqual(['a is asked for 1', 'a gets 1 /again'])
  })

  it('gets no new connections while there is another, and those of all when there is none', () => {
    for (const id of [2, 3]) request(id)
    balancer.remove(b)
    happened()
    request(4)
    expect(happened()).toEqual(['a gets 4 /'])
  })

  it('is empty when its last connection is forgotten', () => {
    balancer.reportConnection(a, epoch, 1, 'forgotten', a.dealt)
    expect(happened()).toEqual(['a is empty'])
  })

  it('that is gone before it answers leaves a 502', () => {
    request(1, '/again')
    balancer.remove(a)
    expect(happened()).toEqual(['a is asked for 1', 'a is empty', '1 ends with 502'])
  })

  it('that closes the connection before it answers takes what waits with it', () => {
    request(1, '/again')
    balancer.reportConnection(a, epoch, 1, 'closed', a.dealt)
    balancer.handedOver(a, epoch, 1, 0)
    expect(happened()).toEqual(['a is asked for 1', 'a is empty'])
  })
})

it('forgets everything of a Mongrel2 that is gone', () => {
  for (const id of [1, 2, 3, 4, 5]) request(id)
  balancer.end(epoch)
  expect([balancer.connections, balancer.queued, a.connections, b.connections]).toEqual([0, 0, 0, 0])
})

describe('a body that Mongrel2 stores', () => {
  beforeEach(() => {
    balancer.withdraw(b)
    b = new ThreadState(1, false)
    balancer.add(b)
    balancer.attach(b, epoch)
  })

  function upload(connectionId: number, headers = STORED): void {
    balancer.receive(epoch, renderRequest({ connectionId, method: 'POST', target: '/upload', headers }))
  }

  /** Connection 2 is that of the thread which does not see the file. */
  function settle(): void {
    for (const id of [1, 2]) request(id)
    answer(a, 1)
    happened()
  }

  it('goes to a thread that sees the file, with its end', () => {
    request(1)
    request(2)
    answer(b, 2)
    happened()
    upload(3)
    upload(3, STORED_DONE)
    expect(happened()).toEqual(['a gets 3 /upload', 'a gets 3 /upload'])
  })

  it('takes its connection along, from a thread that does not', () => {
    settle()
    answer(b, 2)
    upload(2)
    upload(2, STORED_DONE)
    expect(happened()).toEqual(['b is asked for 2'])
    balancer.handedOver(b, epoch, 2, 7)
    expect(happened()).toEqual(['a gets 2 /upload with 7', 'a gets 2 /upload'])
    expect([a.connections, b.connections]).toEqual([2, 0])
  })

  it('waits until what was asked before it is answered', () => {
    settle()
    upload(2)
    upload(2, STORED_DONE)
    expect(happened()).toEqual([])
    answer(b, 2)
    expect(happened()).toEqual(['b is asked for 2'])
    balancer.handedOver(b, epoch, 2, 0)
    expect(happened()).toEqual(['a gets 2 /upload', 'a gets 2 /upload'])
  })

  it('waits for a place on a thread that sees the file, and others do not wait for it', () => {
    for (const id of [1, 2, 3]) request(id)
    expect(a.inFlight).toBe(2)
    happened()
    upload(4)
    request(5)
    expect(happened()).toEqual(['b gets 5 /'])
    answer(b, 2)
    expect(happened()).toEqual([])
    answer(a, 1)
    expect(happened()).toEqual(['a gets 4 /upload'])
  })

  it('is refused, and its file deleted, when its connection cannot be handed over', () => {
    settle()
    answer(b, 2)
    upload(2)
    upload(2, STORED_DONE)
    happened()
    balancer.handedOver(b, epoch, 2, undefined)
    expect(happened()).toEqual(['tmp/mongrel2.upload.aB3xYz is deleted', '2 ends with 503'])
  })

  it('gets a 502 when the thread that it waits to leave is gone', () => {
    settle()
    upload(2)
    balancer.remove(b)
    expect(happened()).toEqual(['2 ends with 502'])
  })
})
