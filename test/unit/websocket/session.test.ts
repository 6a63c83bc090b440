import { randomBytes } from 'node:crypto'
import { deflateRawSync } from 'node:zlib'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { type ServerWebSocket, upgradeWebSocket } from '../../../src/index.ts'
import { Gate } from '../../support/gate.ts'
import { parseServerFrames } from '../../support/websocket-frames.ts'
import { renderCredits, renderDisconnect, renderFrameMessage, renderHandshake } from '../support/message.ts'
import { openSocket, type SocketStage } from '../support/sockets.ts'
import { type Stage, setStage, turns, until } from '../support/stage.ts'

afterEach(() => {
  vi.useRealTimers()
})

/** Time that the test moves on, with nothing else of it replaced. */
function stopTime(): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
}

const code = (number: number, reason = '') => {
  const payload = Buffer.from(`\0\0${reason}`)
  payload.writeUInt16BE(number)
  return payload
}
const FLOW_CONTROL = { headers: { DOWNLOAD_CREDITS: '102400' } }

/** A socket whose handshake is answered when the test says so. */
function connecting(): SocketStage & { open: () => void } {
  const gate = new Gate()
  return { ...openSocket({}, {}, () => gate.pass('open')), open: () => gate.open('open') }
}

describe('send', () => {
  it('throws before the socket is open, and sends nothing once it closes', async () => {
    const { socket, stage, frames } = openSocket()
    const { socket: early } = connecting()
    expect(() => early.send('x')).toThrow(expect.objectContaining({ name: 'InvalidStateError' }))
    socket.send('said')
    socket.close()
    socket.send('late')
    await turns()
    expect(frames()).toEqual(['text "said"', 'close'])
    stage.receive(renderFrameMessage(1, '0x88'))
    socket.send('later')
    await turns()
    expect(frames()).toEqual(['text "said"', 'close', 'end'])
    expect(socket.bufferedAmount).toBe('late'.length + 'later'.length)
  })

  it('takes text, buffers, views, Blobs and what can be made a text, and keeps their order', async () => {
    const { socket, frames } = openSocket()
    const bytes = Uint8Array.from([1, 0x62, 0x63, 2])
    const shared = new SharedArrayBuffer(1)
    new Uint8Array(shared)[0] = 0x73
    socket.send(new Blob(['a ', 'blob']))
    socket.send('text ü')
    socket.send(new DataView(bytes.buffer, 1, 2))
    socket.send(shared)
    socket.send(new Blob([]))
    socket.send(bytes.buffer.slice(1, 2))
    socket.send(12 as unknown as string)
    socket.send('half \ud800 a pair')
    bytes.fill(0) // it was taken as it was
    await until(() => frames().length === 8)
    expect(frames()).toEqual([
      'binary "a blob"',
      expect.stringMatching(/^text 7 bytes/),
      'binary "bc"',
      'binary "s"',
      'binary ""',
      'binary "b"',
      'text "12"',
      expect.stringMatching(/^text 15 bytes/),
    ])
  })

  it('has its close frame behind everything', async () => {
    const { socket, frames } = openSocket()
    socket.send(new Blob(['slow']))
    socket.send('quick')
    socket.close(3000, 'done')
    await until(() => frames().length === 3)
    expect(frames()).toEqual(['binary "slow"', 'text "quick"', 'close 3000 "done"'])
  })

  it('joins what is sent in one turn in one reply, however much', async () => {
    const { socket, stage, frames } = openSocket()
    await turns()
    const { replies } = stage.application.counters
    for (let n = 0; n < 10_000; n++) socket.send(`${n}`)
    await turns()
    expect(stage.application.counters.replies - replies).toBe(1)
    expect(frames().filter((frame) => !frame.startsWith('ping'))).toEqual(
      Array.from({ length: 10_000 }, (_, n) => `text "${n}"`),
    )
  })

  it('fails the socket when more waits than may, but lets a single message be as long as it likes', async () => {
    const { socket, stage, events } = openSocket({ maxBufferedBytes: 1000 }, FLOW_CONTROL)
    await turns()
    socket.send('x'.repeat(200_000))
    expect([socket.readyState, socket.bufferedAmount]).toEqual([1, 200_000])
    socket.send('y')
    expect([socket.readyState, events]).toEqual([2, ['open']])
    await turns()
    expect(events).toEqual([
      'open',
      'error more than 1000 bytes (maxBufferedBytes) wait for the client of a WebSocket',
      'close 1006 ""',
    ])
    expect([socket.readyState, socket.bufferedAmount]).toEqual([3, 200_001])
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('has the bound of serveMongrel2 by default', async () => {
    const { socket } = openSocket({}, { maxBufferedBytes: 64 * 1024, ...FLOW_CONTROL })
    await turns()
    socket.send('x'.repeat(64 * 1024))
    expect(socket.readyState).toBe(1)
    socket.send('y')
    expect(socket.readyState).toBe(2)
    await turns()
  })
})

describe('bufferedAmount', () => {
  it('is what the user gave and Mongrel2 has not credited', async () => {
    const { socket, stage } = openSocket({}, FLOW_CONTROL)
    await turns()
    const head = stage.publisher.received(1).length
    stage.receive(renderCredits(1, head))
    expect(socket.bufferedAmount).toBe(0)
    socket.send('x'.repeat(100))
    socket.send(Buffer.alloc(300))
    socket.send(new Blob(['b'.repeat(50)]))
    expect(socket.bufferedAmount).toBe(450)
    await until(() => stage.publisher.received(1).length === head + 102 + 304 + 52)
    expect(socket.bufferedAmount).toBe(450)
    stage.receive(renderCredits(1, 101)) // not all of the first frame
    expect(socket.bufferedAmount).toBe(450)
    stage.receive(renderCredits(1, 1))
    expect(socket.bufferedAmount).toBe(350)
    stage.receive(renderCredits(1, 304 + 52))
    expect(socket.bufferedAmount).toBe(0)
  })

  it('goes back to 0 for any number of messages', async () => {
    const { socket, stage } = openSocket({}, FLOW_CONTROL)
    await turns()
    stage.receive(renderCredits(1, stage.publisher.received(1).length))
    for (let round = 1; round <= 3; round++) {
      for (let n = 0; n < 600; n++) socket.send('x'.repeat(10))
      expect(socket.bufferedAmount).toBe(6000)
      await turns()
      stage.receive(renderCredits(1, 300 * 12))
      expect(socket.bufferedAmount).toBe(3000)
      stage.receive(renderCredits(1, 300 * 12))
      expect(socket.bufferedAmount).toBe(0)
    }
  })

  it('is reckoned where Mongrel2 says nothing', async () => {
    stopTime()
    const { socket } = openSocket()
    await turns()
    await vi.advanceTimersByTimeAsync(1000)
    socket.send('x'.repeat(100))
    await turns()
    expect(socket.bufferedAmount).toBe(100)
    await vi.advanceTimersByTimeAsync(1000)
    expect(socket.bufferedAmount).toBe(0)
  })

  it('keeps what was not delivered when the client leaves', async () => {
    const { socket, stage } = openSocket({}, FLOW_CONTROL)
    await turns()
    socket.send('x'.repeat(100))
    stage.receive(renderDisconnect(1))
    expect(socket.bufferedAmount).toBe(100)
  })
})

/** What the client of connection 1 has got behind the head. */
function bodyOf({ publisher }: Stage): Buffer {
  const bytes = Buffer.concat(publisher.payloadsFor(1))
  return bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)
}

describe('Where Mongrel2 says nothing of what it has delivered', () => {
  const pings = (all: string[]) => all.filter((frame) => frame.startsWith('ping'))
  /** The payload of the last ping. */
  const lastPing = (bytes: Buffer) => bytes.subarray(-6)

  it('a ping asks the client from the fifth message on, and its pong lets the next ones go', async () => {
    stopTime()
    const { socket, stage, frames, frame } = openSocket()
    await turns()
    await vi.advanceTimersByTimeAsync(1000)
    const sendOne = async () => {
      socket.send('x')
      await turns()
    }
    for (let n = 0; n < 4; n++) await sendOne()
    expect(pings(frames())).toHaveLength(0)
    await sendOne()
    expect(pings(frames())).toHaveLength(1)
    const asked = Buffer.concat(stage.publisher.payloadsFor(1))
    for (let n = 5; n < 20; n++) await sendOne()
    expect(frames().filter((text) => text === 'text "x"')).toHaveLength(15) // one place is left
    expect(pings(frames())).toHaveLength(1)
    frame('0x8A', 'any other')
    await turns()
    expect(frames().filter((text) => text === 'text "x"')).toHaveLength(15)
    frame('0x8A', lastPing(asked))
    await turns()
    expect(frames().filter((text) => text === 'text "x"')).toHaveLength(20)
    expect(pings(frames())).toHaveLength(2) // ten are still under way
    expect(socket.bufferedAmount).toBe(15)
    frame('0x8A', lastPing(Buffer.concat(stage.publisher.payloadsFor(1))))
    expect(socket.bufferedAmount).toBe(0)
    await turns()
    expect(pings(frames())).toHaveLength(2)
  })

  it('a ping asks for a long message at once, and no bytes are taken for buffered once it is answered', async () => {
    const { socket, stage, frames, frame } = openSocket()
    socket.send('x'.repeat(50_000))
    socket.send('y')
    await turns()
    expect(frames()).toEqual([expect.stringMatching(/^text 50000/), 'text "y"', expect.stringMatching(/^ping/)])
    expect(socket.bufferedAmount).toBe(50_001)
    frame('0x8A', lastPing(Buffer.concat(stage.publisher.payloadsFor(1))))
    expect(socket.bufferedAmount).toBe(0)
  })

  it('pongs alone let everything go, though more waits than Mongrel2 takes', async () => {
    stopTime()
    const { socket, stage, frames, frame } = openSocket()
    await turns()
    for (let n = 0; n < 40; n++) {
      socket.send(`${n} ${'x'.repeat(50_000)}`)
      socket.send('behind')
      await turns()
    }
    const arrived = () => frames().filter((text) => text === 'text "behind"').length
    let answered = 0
    for (let round = 0; round < 40 && arrived() < 40; round++) {
      const asked = parseServerFrames(bodyOf(stage)).frames.filter(({ opcode }) => opcode === 9)
      for (const { payload } of asked.slice(answered)) frame('0x8A', payload)
      answered = asked.length
      await turns()
    }
    expect(arrived()).toBe(40)
  })

  it('a client that does not answer its ping in ten seconds is paced by the estimate', async () => {
    stopTime()
    const { socket, frames } = openSocket()
    await turns()
    for (let n = 0; n < 30; n++) {
      socket.send('x')
      await turns()
    }
    const texts = () => frames().filter((text) => text === 'text "x"').length
    expect(texts()).toBe(14)
    expect(pings(frames())).toHaveLength(1)
    await vi.advanceTimersByTimeAsync(9000)
    await turns()
    expect(texts()).toBe(14)
    await vi.advanceTimersByTimeAsync(1250)
    await turns()
    expect(texts()).toBeGreaterThan(14)
  })

  it('no ping is sent with flow control', async () => {
    const { socket, frames } = openSocket({}, FLOW_CONTROL)
    for (let n = 0; n < 30; n++) {
      socket.send('x')
      await turns()
    }
    expect(frames()).toEqual(Array(30).fill('text "x"'))
  })
})

describe('A message', () => {
  it('is text or, by binaryType, a Blob or an ArrayBuffer', async () => {
    const { socket, frame } = openSocket()
    const data: unknown[] = []
    socket.onmessage = (event) => data.push(event.data)
    frame('0x81', Buffer.from('ü'))
    frame('0x82', 'bytes')
    socket.binaryType = 'blob'
    frame('0x82', 'blob')
    socket.binaryType = 'string' as 'blob'
    expect(socket.binaryType).toBe('blob')
    expect(data).toEqual(['ü', new Uint8Array(Buffer.from('bytes')).buffer, expect.any(Blob)])
    expect(await (data[2] as Blob).text()).toBe('blob')
  })

  it('in Blobs is what is delivered by default', () => {
    const types: string[] = []
    const stage = setStage((request) => {
      const { socket, response } = upgradeWebSocket(request)
      types.push(socket.binaryType)
      return response
    })
    stage.receive(renderHandshake())
    expect(types).toEqual(['blob'])
  })

  it('goes to the handler and the listeners in their order, and to the handler that is set last', () => {
    const { socket, frame } = openSocket()
    const heard: string[] = []
    socket.addEventListener('message', () => heard.push('first'))
    socket.onmessage = () => heard.push('replaced')
    socket.addEventListener('message', { handleEvent: () => heard.push('third') })
    const listener = () => heard.push('removed')
    socket.addEventListener('message', listener)
    socket.removeEventListener('message', listener)
    socket.onmessage = function () {
      heard.push(this === socket ? 'second' : 'another this')
    }
    frame('0x81', 'x')
    socket.onmessage = null
    frame('0x81', 'x')
    expect(heard).toEqual(['first', 'second', 'third', 'first', 'third'])
    expect(socket.onmessage).toBeNull()
  })

  it('is not delivered any more once the socket closes', async () => {
    const { socket, frame, events, frames } = openSocket()
    socket.close()
    frame('0x81', 'late')
    frame('0x89', 'late')
    await until(() => frames().length > 0)
    expect([events, frames()]).toEqual([['open'], ['close']])
  })
})

describe('close', () => {
  it.each([999, 1001, 1005, 1006, 1015, 2999, 5000, Number.NaN])('refuses the code %d', (wrong) => {
    const { socket } = openSocket()
    expect(() => socket.close(wrong)).toThrow(expect.objectContaining({ name: 'InvalidAccessError' }))
    expect(socket.readyState).toBe(1)
  })

  it('refuses a reason of more than 123 bytes', () => {
    const { socket } = openSocket()
    expect(() => socket.close(1000, 'ü'.repeat(62))).toThrow(expect.objectContaining({ name: 'SyntaxError' }))
    socket.close(1000, `${'ü'.repeat(61)}u`)
    expect(socket.readyState).toBe(2)
  })

  it.each([
    [[], 'close'],
    [[1000], 'close 1000 ""'],
    [[3000, 'bye'], 'close 3000 "bye"'],
    [[4999, 'half \ud800'], expect.stringMatching(/^close 4999 8 bytes/)],
    [[undefined, 'why'], 'close 1000 "why"'],
  ] as [[number?, string?], unknown][])('%j says so, and ends with the client’s answer', async (status, said) => {
    const { socket, frame, frames, events, stage } = openSocket()
    socket.close(...status)
    socket.close(3001) // it closes already
    expect(socket.readyState).toBe(2)
    await turns()
    expect(frames()).toEqual([said])
    frame('0x88', code(4000, 'me too'))
    expect([socket.readyState, events]).toEqual([3, ['open', 'close 4000 "me too" clean']])
    await turns()
    expect(frames()).toEqual([said, 'end'])
    expect(stage.epoch.connections.size).toBe(0)
  })

  it('waits ten seconds for the answer, then ends the connection: 1006', async () => {
    stopTime()
    const { socket, frames, events } = openSocket()
    socket.close(1000)
    await turns()
    await vi.advanceTimersByTimeAsync(9999)
    expect(events).toEqual(['open'])
    await vi.advanceTimersByTimeAsync(1)
    await turns()
    expect([events, frames()]).toEqual([
      ['open', 'close 1006 ""'],
      ['close 1000 ""', 'end'],
    ])
  })

  it('waits longer while the client still takes what was sent before', async () => {
    stopTime()
    const { socket, stage, events } = openSocket({}, FLOW_CONTROL)
    socket.send('x'.repeat(300_000))
    socket.close()
    for (let step = 0; step < 3; step++) {
      await turns()
      await vi.advanceTimersByTimeAsync(9000)
      stage.receive(renderCredits(1, 50_000))
    }
    expect(events).toEqual(['open'])
    await vi.advanceTimersByTimeAsync(20_000)
    expect(events).toEqual(['open', 'close 1006 ""'])
    await turns()
    expect(stage.publisher.closed(1)).toBe(true)
  })

  it('before the socket is open closes it as soon as the handshake is answered', async () => {
    const { socket, open, events, frames, frame } = connecting()
    socket.close(3000, 'changed my mind')
    expect(socket.readyState).toBe(2)
    open()
    await until(() => frames().length > 0)
    expect([events, frames()]).toEqual([[], ['close 3000 "changed my mind"']])
    frame('0x88', code(3000))
    expect(events).toEqual(['close 3000 "" clean'])
  })
})

describe('A client that', () => {
  it('closes is answered with the same, and its connection is closed', async () => {
    const { frame, frames, events, socket } = openSocket()
    frame('0x88', code(3333, 'bye'))
    expect([socket.readyState, events]).toEqual([3, ['open', 'close 3333 "bye" clean']])
    frame('0x81', 'late')
    frame('0x88', code(1000))
    await turns()
    expect([frames(), events.length]).toEqual([['close 3333 "bye"', 'end'], 2])
  })

  it('leaves is a 1006', () => {
    const { stage, events, socket } = openSocket()
    stage.receive(renderDisconnect(1))
    expect([socket.readyState, events]).toEqual([3, ['open', 'close 1006 ""']])
  })

  it('goes down with its Mongrel2 is a 1006', () => {
    const { stage, events } = openSocket()
    stage.epoch.lost()
    expect(events).toEqual(['open', 'close 1006 ""'])
  })

  it('breaks the protocol is told why, and the socket fails', async () => {
    const { frame, frames, events, socket } = openSocket()
    frame('0x83', 'x')
    expect([socket.readyState, events]).toEqual([3, ['open', 'error a frame of the kind 3', 'close 1006 ""']])
    await turns()
    expect(frames()).toEqual(['close 1002 "a frame of the kind 3"', 'end'])
  })

  it.each(['0x01', '0x', '', '0x1FF'])('has the flags %j breaks it too', async (flags) => {
    const { frame, frames } = openSocket()
    frame(flags, 'x')
    await turns()
    expect(frames()).toEqual(['close 1002 "a part of a message"', 'end'])
  })

  it('breaks it after our close frame is told nothing more', async () => {
    const { frame, frames, events, socket } = openSocket()
    socket.close()
    await turns()
    frame('0x83', 'x')
    await turns()
    expect([frames(), events]).toEqual([
      ['close', 'end'],
      ['open', 'error a frame of the kind 3', 'close 1006 ""'],
    ])
  })

  it('sends more than maxPayload is told so; what a ping has does not count', async () => {
    const { frame, frames } = openSocket({ maxPayload: 2 })
    frame('0x81', 'ok')
    frame('0x89', 'ping')
    frame('0x82', 'not')
    await turns()
    expect(frames()).toEqual(['pong "ping"', 'close 1009 "a message of more than 2 bytes"', 'end'])
  })

  it('pings and does not read is ended', async () => {
    const { stage, frame, events } = openSocket({ maxBufferedBytes: 1 }, FLOW_CONTROL)
    for (let n = 0; n < 4000; n++) frame('0x89', Buffer.alloc(125))
    await turns()
    expect(events).toEqual(['open', 'error pings whose answers are not read', 'close 1006 ""'])
    for (let n = 0; n < 20; n++) {
      stage.receive(renderCredits(1, 102_400))
      await turns()
    }
    expect(stage.publisher.closed(1)).toBe(true)
  })
})

describe('A Blob that cannot be read', () => {
  it('fails the socket with 1011', async () => {
    const { socket, frames, events } = openSocket()
    const blob = new Blob(['x'])
    blob.arrayBuffer = () => Promise.reject(new Error('gone'))
    socket.send(blob)
    socket.send('never')
    await until(() => frames().includes('end'))
    expect([frames(), events]).toEqual([
      ['close 1011 ""', 'end'],
      ['open', 'error gone', 'close 1006 ""'],
    ])
  })
})

describe('idleTimeout', () => {
  it('pings a silent client at half of it and gives it up at its end, with 1001', async () => {
    stopTime()
    const { frames, events } = openSocket({ idleTimeout: 60_000 })
    await turns()
    await vi.advanceTimersByTimeAsync(29_999)
    await turns()
    expect(frames()).toEqual([])
    await vi.advanceTimersByTimeAsync(1)
    await turns()
    expect(frames()).toEqual([expect.stringMatching(/^ping/)])
    await vi.advanceTimersByTimeAsync(29_999)
    expect(events).toEqual(['open'])
    await vi.advanceTimersByTimeAsync(1)
    await turns()
    expect(frames()).toEqual([expect.stringMatching(/^ping/), 'close 1001 "no sign of life for 60000 ms"', 'end'])
    expect(events).toEqual(['open', 'close 1006 ""'])
  })

  it.each(['0x8A', '0x89', '0x81'])('leaves a client alone that sends a frame with the flags %s', async (flags) => {
    stopTime()
    const { frame, events, frames } = openSocket({ idleTimeout: 60_000 })
    for (let n = 0; n < 10; n++) {
      await vi.advanceTimersByTimeAsync(59_000)
      frame(flags, 'x')
    }
    await turns()
    expect(events.filter((event) => event.startsWith('close'))).toEqual([])
    expect(frames().filter((text) => text.startsWith('ping'))).toHaveLength(10)
  })

  it('is off by default', async () => {
    stopTime()
    const { frames } = openSocket()
    await vi.advanceTimersByTimeAsync(24 * 3600 * 1000)
    await turns()
    expect(frames()).toEqual([])
  })
})

describe('While a socket is open', () => {
  it('Mongrel2 is told to keep its connection', async () => {
    stopTime()
    const { stage } = openSocket({}, { keepAliveInterval: 1000 })
    await vi.advanceTimersByTimeAsync(10_000)
    await turns()
    const alive = stage.publisher.replies.filter(({ targets }) => targets === 'X 1')
    expect(alive).toHaveLength(10)
    expect(stage.epoch.connections.size).toBe(1)
  })
})

// zlib works in threads, which take as long as they do: turns of the event loop are no measure.
describe('Compression', () => {
  const headers = { 'sec-websocket-extensions': 'permessage-deflate' }
  const compressed = (text: string | Uint8Array) => deflateRawSync(text, { finishFlush: 2 }).subarray(0, -4)

  it('is of messages from the threshold on, and keeps the order of all', async () => {
    const { socket, frames, frame } = openSocket({ perMessageDeflate: { threshold: 10 } }, { headers })
    socket.send('x'.repeat(10))
    socket.send('y'.repeat(9))
    frame('0x89', 'behind')
    socket.send('z'.repeat(1000))
    socket.close()
    await expect.poll(() => frames().length).toBe(5)
    expect(frames()).toEqual([
      expect.stringMatching(/^rsv 40 text/),
      'text "yyyyyyyyy"',
      'pong "behind"',
      expect.stringMatching(/^rsv 40 text/),
      'close',
    ])
  })

  it('of messages is undone, in the order of all', async () => {
    const { frame, events } = openSocket({ perMessageDeflate: true }, { headers })
    const long = 'x'.repeat(500_000)
    frame('0xC1', compressed(long))
    frame('0x81', 'plain')
    frame('0xC2', compressed('bytes'))
    frame('0x88', code(1000))
    expect(events).toEqual(['open'])
    await expect.poll(() => events.length).toBe(5)
    expect(events).toEqual(['open', `text ${long}`, 'text plain', 'bytes bytes', 'close 1000 "" clean'])
  })

  it('of a message that becomes too long is a 1009', async () => {
    const { frame, frames } = openSocket({ perMessageDeflate: true, maxPayload: 1000 }, { headers })
    frame('0xC1', compressed(Buffer.alloc(1001)))
    await expect.poll(frames).toContain('end')
    expect(frames()[0]).toBe('close 1009 "a message of more than 1000 bytes"')
  })

  it('ends a client that sends more than can be undone', async () => {
    const { frame, events } = openSocket({ perMessageDeflate: true }, { headers })
    const bytes = compressed(randomBytes(1024 * 1024))
    for (let n = 0; n < 17; n++) frame('0xC2', bytes)
    expect(events).toEqual(['open', 'error messages come too fast', 'close 1006 ""'])
    await turns(100)
    expect(events).toHaveLength(3)
  })
})

describe('goAway', () => {
  it('tells the clients 1001, and resolves when they have answered', async () => {
    const { stage, frame, frames, events } = openSocket()
    let gone = false
    const going = stage.epoch.closing.goAway().then(() => {
      gone = true
    })
    await turns()
    expect([frames(), gone]).toEqual([['close 1001 ""'], false])
    frame('0x88', code(1001))
    await going
    expect(events).toEqual(['open', 'close 1001 "" clean'])
  })

  it('waits for none that the user has closed, and stopPulling ends those that do not answer', async () => {
    const { stage, frames, events } = openSocket()
    void stage.epoch.closing.goAway()
    stage.epoch.closing.stopPulling()
    await stage.settled()
    expect([frames(), events]).toEqual([
      ['close 1001 ""', 'end'],
      ['open', 'close 1006 ""'],
    ])
  })

  it('lets a handshake that is answered later open and close', async () => {
    const { stage, open, frames, events } = connecting()
    await stage.epoch.closing.goAway()
    open()
    await until(() => frames().length === 2)
    expect([frames(), events]).toEqual([
      ['close 1001 ""', 'end'],
      ['open', 'close 1006 ""'],
    ])
  })
})

describe('a listener that fails', () => {
  const fails = () => {
    throw new Error('the listener fails')
  }

  it.each<[what: string, add: (socket: ServerWebSocket) => void]>([
    ['throws', (socket) => socket.addEventListener('message', fails)],
    ['is an attribute that throws', (socket) => Object.assign(socket, { onmessage: fails })],
    ['is an object that throws', (socket) => socket.addEventListener('message', { handleEvent: fails })],
    ['rejects', (socket) => socket.addEventListener('message', async () => fails())],
  ])('as it %s fails its socket with 1011 and is logged; others are called', async (_what, add) => {
    const { socket, stage, frames } = openSocket()
    const events: string[] = []
    add(socket)
    for (const type of ['message', 'error', 'close'] as const) socket.addEventListener(type, () => events.push(type))
    stage.receive(renderFrameMessage(1, '0x81', '{'))
    await until(() => frames().includes('end'))
    expect(frames()).toEqual(['close 1011 ""', 'end'])
    expect(events).toEqual(['message', 'error', 'close'])
    expect(stage.log.errors).toEqual([
      expect.stringMatching(/^mongrel2-fetch: a listener of a WebSocket failed: Error: the listener fails\n/),
    ])
  })

  it('of the close is logged', async () => {
    const { socket, stage } = openSocket()
    socket.addEventListener('close', fails)
    stage.receive(renderDisconnect(1))
    await turns()
    expect(stage.log.errors).toHaveLength(1)
  })

  it('that was removed or is called once is not called again', async () => {
    const { socket, stage } = openSocket()
    const removed = vi.fn()
    const once = vi.fn()
    socket.addEventListener('message', removed)
    socket.addEventListener('message', removed)
    socket.addEventListener('message', once, { once: true })
    stage.receive(renderFrameMessage(1, '0x81', 'one'))
    socket.removeEventListener('message', removed)
    stage.receive(renderFrameMessage(1, '0x81', 'two'))
    expect([removed.mock.calls.length, once.mock.calls.length]).toEqual([1, 1])
  })
})
